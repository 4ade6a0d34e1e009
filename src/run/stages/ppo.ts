/** Owns the `ppo` stage: hands the recipe's numbers to the trainer. */

import type { StageOutcome } from '../../train/context.ts';
import { type PpoOptions, trainPpo } from '../../train/index.ts';
import type { RunStageContext } from '../stages.ts';
import { budgetOf } from './budget.ts';
import { companionsOf, modelOf } from './models.ts';
import { rewardsOf, taskOf } from './task.ts';

/** Proximal policy optimisation. */
export function ppo(context: RunStageContext<'ppo'>): Promise<StageOutcome> {
  return trainPpo(context, taskOf(context.recipe), ppoOptions(context));
}

/** The recipe's numbers as the trainer takes them. */
export function ppoOptions(context: RunStageContext<'ppo'>): PpoOptions {
  const { recipe, stage } = context;
  return {
    ...stage,
    ...budgetOf(context),
    ...companionsOf(context),
    valueModel: modelOf(context, stage.value.model),
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
    sampling: recipe.sampling,
    rewards: rewardsOf(recipe, stage.rewards),
    valueClip: stage.value.clip,
    valueCoefficient: stage.value.coefficient,
    valueRateRatio: stage.value.rateRatio,
    valuePretrainingSteps: stage.value.pretrainingSteps,
    klEstimator: stage.kl.estimator,
    klControl: stage.kl,
  };
}
