/** Owns the `sft` stage: hands the recipe's numbers to the trainer. */

import type { StageOutcome } from '../../train/context.ts';
import { trainSft } from '../../train/index.ts';
import type { RunStageContext } from '../stages.ts';
import { taskOf } from './task.ts';

/** Supervised fine-tuning. */
export function sft(context: RunStageContext<'sft'>): Promise<StageOutcome> {
  const { recipe, stage } = context;
  return trainSft(context, taskOf(recipe), {
    ...stage,
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
  });
}
