/** Owns the `expert-iteration` stage: hands the recipe's numbers to the trainer. */

import type { StageOutcome } from '../../train/context.ts';
import { trainExpertIteration } from '../../train/index.ts';
import type { RunStageContext } from '../stages.ts';
import { budgetOf } from './budget.ts';
import { taskOf } from './task.ts';

/** Fine-tuning on own correct completions. */
export function expertIteration(context: RunStageContext<'expert-iteration'>): Promise<StageOutcome> {
  const { recipe, stage } = context;
  return trainExpertIteration(context, taskOf(recipe), {
    ...stage,
    ...budgetOf(context),
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
    sampling: recipe.sampling,
  });
}
