/** Owns the `grpo` stage: hands the recipe's numbers to the trainer. */

import type { PolicyObjective } from '../../losses/index.ts';
import type { GrpoStage } from '../../recipe/index.ts';
import type { StageOutcome } from '../../train/context.ts';
import { trainGrpo } from '../../train/index.ts';
import type { RunStageContext } from '../stages.ts';
import { budgetOf } from './budget.ts';
import { rewardsOf, taskOf } from './task.ts';

/** Group-relative policy optimisation. */
export function grpo(context: RunStageContext<'grpo'>): Promise<StageOutcome> {
  const { recipe, stage } = context;
  const task = taskOf(recipe);
  return trainGrpo(context, task, {
    ...stage,
    ...budgetOf(context),
    epsilon: stage.adamEpsilon,
    checkpoints: recipe.checkpoints,
    sampling: recipe.sampling,
    rewards: rewardsOf(task, stage.rewards),
    objective: objectiveOf(stage.objective),
    klInReward: stage.kl.place === 'reward',
    offPolicyThreshold: stage.offPolicyThreshold ?? null,
  });
}

/** The parameters of SAPO and VESPO are those of their papers. */
function objectiveOf(name: GrpoStage['objective']): PolicyObjective {
  if (name === 'sapo') return { name, positive: 1, negative: 1.05 };
  if (name === 'vespo') return { name, positive: { k: 2, lambda: 3 }, negative: { k: 3, lambda: 2 } };
  return { name };
}
