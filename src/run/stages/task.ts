/** Owns how a stage gets the recipe's task, its rewards and its parent's model. Computes nothing itself. */

import type { Recipe, RewardRecipe } from '../../recipe/index.ts';
import { game24Task, type Reward, type Task } from '../../rewards/index.ts';
import { ReckonError } from '../../util/errors.ts';

/** The task that the recipe names. */
export function taskOf(recipe: Recipe): Task {
  return game24Task(recipe.task.splitSeed);
}

/** The task's rewards that a stage names. */
export function rewardsOf(task: Task, named: readonly RewardRecipe[]): Reward[] {
  return named.map(({ name, weight }) => ({ name, weight, score: task.rewards[name]! }));
}

/** The model folder that a stage starts from; throws `no-model` where no earlier stage left one. */
export function parentOf(context: { readonly name: string; readonly parent: string | null }): string {
  if (context.parent !== null) return context.parent;
  throw new ReckonError(
    'recipe',
    'no-model',
    `${context.name}: no earlier stage left a model; begin with a 'prepare' stage`,
  );
}
