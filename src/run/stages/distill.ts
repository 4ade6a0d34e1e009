/** Owns the `distill` stage: hands the recipe's numbers to the trainer. */

import type { StageOutcome } from '../../train/context.ts';
import { trainDistill } from '../../train/index.ts';
import type { RunStageContext } from '../stages.ts';
import { budgetOf } from './budget.ts';
import { placeModels } from './models.ts';
import { taskOf } from './task.ts';

/** Learning from a teacher. */
export function distill(context: RunStageContext<'distill'>): Promise<StageOutcome> {
  const { recipe, stage } = context;
  return trainDistill(context, taskOf(recipe), {
    ...stage,
    ...budgetOf(context),
    teacher: context.modelFolder(stage.teacher),
    teacherDevice: placeModels(context, { teacher: stage.teacherDevice }).teacher,
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
    sampling: recipe.sampling,
  });
}
