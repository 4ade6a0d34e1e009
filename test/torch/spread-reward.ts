/** Owns a reward in which completions differ from the first step on, for stages whose small model is never right. */

import type { Reward } from '../../src/rewards/index.ts';
import { grpoOptions } from '../../src/run/stages/grpo.ts';
import { ppoOptions } from '../../src/run/stages/ppo.ts';
import { taskOf } from '../../src/run/stages/task.ts';
import type { RunStageContext } from '../../src/run/stages.ts';
import { trainGrpo, trainPpo } from '../../src/train/index.ts';
import type { StageWork } from './stage-harness.ts';

/** How many of the tokens are even ids. */
export const spread: Reward = {
  name: 'process',
  weight: 1,
  score: ({ rollout }) => rollout.completionIds.filter((id) => id % 2 === 0).length / 10,
};

/** A `grpo` or `ppo` stage as its recipe has it, but for the reward. */
export const workWithSpread: StageWork = (context) => {
  const { recipe, stage } = context;
  const task = taskOf(recipe);
  if (stage.type === 'ppo') {
    const asked = ppoOptions(context as RunStageContext<'ppo'>);
    return trainPpo(context, task, { ...asked, rewards: [spread] });
  }
  return trainGrpo(context, task, { ...grpoOptions(context as RunStageContext<'grpo'>), rewards: [spread] });
};
