/** Owns the check that the prompts of a run's evaluations fit its model, before anything is trained. Measures no model. */

import { evaluationPrompt } from '../../evaluate/index.ts';
import { parentIndex, type Recipe, type Stage, stageDirectoryName } from '../../recipe/index.ts';
import type { Tokenizer } from '../../text/index.ts';
import { requireRoom } from '../../train/prompt-room.ts';
import { problemsOf, taskOf } from './task.ts';

interface Measuring {
  readonly recipe: Recipe;
  readonly seed: number;
}

/** What a model reads, and how much of it. */
interface Reader {
  readonly tokenizer: Tokenizer;
  readonly maxPositions: number;
}

/**
 * Throws `too-long` where a later stage measures what began as the model of the stage at `index`, and a problem's prompt
 * leaves no room for a completion; and `no-problems` where there are none to measure on.
 */
export function requireLaterEvaluations(
  context: Measuring & { readonly index: number },
  reader: Reader,
): void {
  const { stages } = context.recipe;
  const later = stages.findIndex((stage, i) => measures(stage) && originOf(stages, i) === context.index);
  if (later >= 0) requireEvaluationRoom(context, stageDirectoryName(stages[later]!, later), reader);
}

/** The same for one stage by its name. */
export function requireEvaluationRoom(
  { recipe, seed }: Measuring,
  name: string,
  { tokenizer, maxPositions }: Reader,
): void {
  const task = taskOf(recipe);
  const { split } = recipe.evaluation;
  const { sampling } = recipe;
  requireRoom(problemsOf(task, split), (problem) => evaluationPrompt(task, problem, seed), {
    name,
    split,
    tokenizer,
    positions: maxPositions,
    sampling,
  });
}

function measures(stage: Stage): boolean {
  return stage.type === 'evaluate' || ('budget' in stage && stage.budget?.measureEvery !== undefined);
}

/** The stage that made the model which others have trained since. */
function originOf(stages: readonly Stage[], index: number): number | null {
  const parent = parentIndex(stages, index);
  if (parent === null) return null;
  const { type } = stages[parent]!;
  return type === 'prepare' || type === 'model' ? parent : originOf(stages, parent);
}
