/** Owns what an estimate should know of a task's data, from the data itself where it lies here. Downloads nothing. */

import { existsSync } from 'node:fs';
import type { Recipe, TaskFacts, TaskRecipe } from '../recipe/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import { mean } from '../util/statistics.ts';

/** Demonstrations that are measured. */
const SAMPLES = 32;
/** Tasks that need no file. */
const GENERATED: readonly string[] = ['countdown', 'arithmetic', 'own'];
/** Of text in words; a model made anew reads characters. */
const CHARACTERS_A_TOKEN = 3.5;

/**
 * Counts and lengths of a task whose data is in files here or is generated; undefined for data on the hub, for the 24 game, whose
 * numbers are known, and where a tokenizer is not here yet. Data that cannot be used is an error, as it would be of the run.
 */
export async function taskFacts(recipe: Recipe): Promise<TaskFacts | undefined> {
  const { task, model } = recipe;
  if (!isHere(task)) return undefined;
  try {
    // Loaded only where there is something to read: the check of a recipe is to be quick.
    const { openTaskOf } = await import('./stages/task.ts');
    const opened = await openTaskOf(recipe);
    const { train, validation, test } = opened.splits;
    const chosen = train.filter((_, i) => i % Math.ceil(train.length / SAMPLES) === 0);
    const texts = chosen.map((problem) =>
      opened.demonstrate(problem, new Rng({ seed: 0, purpose: 'estimate', id: problem.id })),
    );
    const scale = model.init === undefined ? 1 / CHARACTERS_A_TOKEN : 1;
    return {
      counts: { train: train.length, validation: validation.length, test: test.length },
      promptTokens: scale * mean(texts.map(({ prompt }) => prompt.length)),
      solutionTokens: scale * mean(texts.map(({ completion }) => completion.length)),
    };
  } catch (error) {
    const later = ['environment', 'internal'];
    if (error instanceof ReckonError && !later.includes(error.category) && error.code !== 'bad-tokenizer')
      throw error;
    return undefined;
  }
}

function isHere(task: TaskRecipe): boolean {
  if (task.name === 'mixture')
    return task.sources.every((one) => one.task.name === 'game24' || isHere(one.task));
  const path = 'path' in task ? task.path : undefined;
  return path === undefined ? GENERATED.includes(task.name) : existsSync(path);
}
