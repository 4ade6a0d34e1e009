/** Owns the `dpo` stage: hands the recipe's numbers to the trainer. */

import { readPairLines } from '../../data/training-rows.ts';
import type { StageOutcome } from '../../train/context.ts';
import { trainDpo } from '../../train/index.ts';
import type { RunStageContext } from '../stages.ts';
import { budgetOf } from './budget.ts';
import { stepsOf } from './extent.ts';
import { companionsOf } from './models.ts';
import { taskOf } from './task.ts';

/** Learning from preference pairs. */
export function dpo(context: RunStageContext<'dpo'>): Promise<StageOutcome> {
  const { recipe, stage } = context;
  const { reference, referenceDevice } = companionsOf(context);
  const task = taskOf(recipe);
  const extent =
    stage.pairsFile === undefined
      ? stepsOf(stage, task.splits.train.length, stage.promptsPerStep)
      : stepsOf(stage, readPairLines(stage.pairsFile).length, stage.optimizerBatch);
  return trainDpo(context, task, {
    ...stage,
    ...extent,
    ...budgetOf(context),
    reference,
    referenceDevice,
    pairs:
      stage.pairsFile === undefined
        ? { ...stage, from: 'rollouts' }
        : { from: 'file', path: stage.pairsFile },
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
    sampling: recipe.sampling,
  });
}
