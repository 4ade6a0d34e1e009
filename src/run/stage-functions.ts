/** Owns the list of stage functions, one a stage type: what a run loads once it is good to go. Computes nothing itself. */

import { kindOf, type StageType } from '../recipe/index.ts';
import type { StageOutcome } from '../train/context.ts';
import { withinMemory } from './stage-memory.ts';
import { compare } from './stages/compare.ts';
import { distill } from './stages/distill.ts';
import { dpo } from './stages/dpo.ts';
import { evaluate } from './stages/evaluate.ts';
import { expertIteration } from './stages/expert-iteration.ts';
import { grpo } from './stages/grpo.ts';
import { model } from './stages/model.ts';
import { ppo } from './stages/ppo.ts';
import { prepare } from './stages/prepare.ts';
import { report } from './stages/report.ts';
import { sft } from './stages/sft.ts';
import { openTaskOf } from './stages/task.ts';
import type { RunStageContext, StageFunctions } from './stages.ts';

export { resolveCompute } from './compute.ts';

/** One function a stage type; before all but those that only sum up, the problems of the task are read. */
export const stageFunctions: StageFunctions = withTask({
  prepare,
  model,
  evaluate,
  sft,
  'expert-iteration': expertIteration,
  grpo,
  ppo,
  dpo,
  distill,
  compare,
  report,
});

function withTask(functions: StageFunctions): StageFunctions {
  const opening = Object.entries(functions).map(([type, work]) => [
    type,
    async (context: RunStageContext<StageType>) => {
      if (kindOf(type as StageType).summarises !== true)
        await openTaskOf(context.recipe, (line) => context.log(line));
      return withinMemory(context, work as (context: RunStageContext<StageType>) => Promise<StageOutcome>);
    },
  ]);
  return Object.fromEntries(opening) as StageFunctions;
}
