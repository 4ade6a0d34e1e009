/** Owns the `ppo` stage: hands the recipe's numbers to the trainer. */

import type { StageOutcome } from '../../train/context.ts';
import { trainPpo } from '../../train/index.ts';
import type { RunStageContext } from '../stages.ts';
import { budgetOf } from './budget.ts';
import { rewardsOf, taskOf } from './task.ts';

/** Proximal policy optimisation. */
export function ppo(context: RunStageContext<'ppo'>): Promise<StageOutcome> {
  const { recipe, stage } = context;
  const task = taskOf(recipe);
  return trainPpo(context, task, {
    ...stage,
    ...budgetOf(context),
    intrinsic: stage.intrinsic && {
      ...stage.intrinsic,
      teacher: context.modelFolder(stage.intrinsic.teacher),
    },
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
    sampling: recipe.sampling,
    rewards: rewardsOf(task, stage.rewards),
    valueClip: stage.value.clip,
    valueCoefficient: stage.value.coefficient,
    valueRateRatio: stage.value.rateRatio,
    valuePretrainingSteps: stage.value.pretrainingSteps,
    klEstimator: stage.kl.estimator,
    klControl: stage.kl,
  });
}
