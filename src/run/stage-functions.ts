/** Owns the list of stage functions, one a stage type: what a run loads once it is good to go. Computes nothing itself. */

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
import type { StageFunctions } from './stages.ts';

export { resolveCompute } from './compute.ts';

/** One function a stage type. */
export const stageFunctions: StageFunctions = {
  prepare,
  model,
  evaluate,
  sft,
  'expert-iteration': expertIteration,
  grpo,
  ppo,
  dpo,
  distill,
  report,
};
