/** Owns the `sft` stage: hands the recipe's numbers to the trainer. */

import type { StageOutcome } from '../../train/context.ts';
import { trainSft } from '../../train/index.ts';
import type { RunStageContext } from '../stages.ts';
import { taskOf } from './task.ts';

/** Supervised fine-tuning. */
export function sft(context: RunStageContext<'sft'>): Promise<StageOutcome> {
  const { recipe, stage } = context;
  const { steps, epochs, dataFile, validationFile, validateEvery, keepBest, patience } = stage;
  return trainSft(context, taskOf(recipe), {
    ...stage,
    length: steps === undefined ? { epochs: epochs! } : { steps },
    data: dataFile === undefined ? { from: 'task' } : { from: 'file', path: dataFile },
    validation: {
      every: validateEvery,
      path: validationFile ?? null,
      keepBest,
      patience: patience ?? null,
    },
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
  });
}
