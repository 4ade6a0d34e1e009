/** Owns the `grpo` stage: hands the recipe's numbers to the trainer. */

import type { PolicyObjective } from '../../losses/index.ts';
import type { GrpoStage } from '../../recipe/index.ts';
import type { StageOutcome } from '../../train/context.ts';
import { type GrpoOptions, trainGrpo } from '../../train/index.ts';
import type { RunStageContext } from '../stages.ts';
import { budgetOf } from './budget.ts';
import { stepsOf } from './extent.ts';
import { companionsOf } from './models.ts';
import { rewardsOf, taskOf } from './task.ts';

/** Group-relative policy optimisation. */
export function grpo(context: RunStageContext<'grpo'>): Promise<StageOutcome> {
  return trainGrpo(context, taskOf(context.recipe), grpoOptions(context));
}

/** The recipe's numbers as the trainer takes them. */
export function grpoOptions(context: RunStageContext<'grpo'>): GrpoOptions {
  const { recipe, stage } = context;
  const { splits } = taskOf(recipe);
  return {
    ...stage,
    ...stepsOf(stage, splits.train.length, stage.promptsPerStep),
    ...budgetOf(context),
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
    sampling: recipe.sampling,
    rewards: rewardsOf(recipe, stage.rewards),
    objective: objectiveOf(stage.objective),
    klPlace: stage.kl.place,
    ...companionsOf(context),
    offPolicyThreshold: stage.offPolicyThreshold ?? null,
  };
}

/** The policy term by its name; the parameters of SAPO and VESPO are those of their papers. */
function objectiveOf(name: GrpoStage['objective']): PolicyObjective {
  if (name === 'sapo') return { name, positive: 1, negative: 1.05 };
  if (name === 'vespo') return { name, positive: { k: 2, lambda: 3 }, negative: { k: 3, lambda: 2 } };
  return { name };
}
