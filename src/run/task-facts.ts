/** Owns what an estimate should know of a task's data, from the data itself where it lies here. Downloads nothing. */

import { existsSync } from 'node:fs';
import type { Recipe, TaskFacts } from '../recipe/index.ts';
import { Rng } from '../util/rng.ts';
import { mean } from '../util/statistics.ts';

/** Demonstrations that are measured. */
const SAMPLES = 32;
/** Of text in words; a model made anew reads characters. */
const CHARACTERS_A_TOKEN = 3.5;

/**
 * Counts and lengths of a task whose data is in files here or is generated; undefined for data on the hub, for the 24 game, whose
 * numbers are known, and for data that cannot be read, of which the run itself will say what is wrong.
 */
export async function taskFacts(recipe: Recipe): Promise<TaskFacts | undefined> {
  const { task, model } = recipe;
  const path = 'path' in task ? task.path : undefined;
  const here = path === undefined ? ['countdown', 'arithmetic', 'own'].includes(task.name) : existsSync(path);
  if (!here) return undefined;
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
  } catch {
    return undefined;
  }
}
