/** Owns the list of stage functions, one a stage type, and what a recipe computes on. Computes nothing itself. */

import type { Recipe } from '../recipe/index.ts';
import { devices } from '../torch/index.ts';
import type { ResolvedCompute } from '../train/context.ts';
import { ReckonError } from '../util/errors.ts';
import { automaticThreads, describeCpu } from './machine.ts';
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

/** Device, dtype, threads and kernels for a recipe on this machine. */
export async function resolveCompute(recipe: Recipe): Promise<ResolvedCompute> {
  const { device, dtype, threads } = recipe.compute;
  const found = devices();
  const wanted = device === 'auto' ? found[0]! : found.find((name) => name.startsWith(device));
  if (wanted === undefined) {
    throw new ReckonError(
      'environment',
      'no-such-device',
      `the recipe asks for the device '${device}', and this libtorch finds only ${found.join(', ')}; set compute.device to auto, or install a CUDA build with RECKON_TORCH=cu130`,
    );
  }
  return {
    device: wanted,
    dtype: dtype === 'auto' ? fasterDtype(wanted) : dtype,
    threads: threads === 'auto' ? automaticThreads() : threads,
    kernels: 'none',
  };
}

/** bf16 where there are instructions for it (measured: about twice as fast as f32, masters stay f32), else f32. */
function fasterDtype(device: string): 'f32' | 'bf16' {
  const { capabilities } = describeCpu();
  const native = capabilities.includes('avx512_bf16') || capabilities.includes('amx_bf16');
  return device.startsWith('cuda') || (device === 'cpu' && native) ? 'bf16' : 'f32';
}
