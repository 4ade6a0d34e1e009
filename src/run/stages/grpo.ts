/** Owns the `grpo` stage: hands the recipe's numbers to the trainer. */

import type { StageOutcome } from '../../train/context.ts';
import { trainGrpo } from '../../train/index.ts';
import type { RunStageContext } from '../stages.ts';
import { rewardsOf, taskOf } from './task.ts';

/** Group-relative policy optimisation. */
export function grpo(context: RunStageContext<'grpo'>): Promise<StageOutcome> {
  const { recipe, stage } = context;
  const task = taskOf(recipe);
  return trainGrpo(context, task, {
    ...stage,
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
    sampling: recipe.sampling,
    rewards: rewardsOf(task, stage.rewards),
  });
}
