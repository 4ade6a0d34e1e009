/** Owns what is computed on, in which precision and with how many threads, where that is left to the machine. */

import type { Recipe } from '../recipe/index.ts';
import { devices, kernelLevel } from '../torch/index.ts';
import type { ResolvedCompute } from '../train/context.ts';
import { ReckonError } from '../util/errors.ts';
import { automaticThreads, describeCpu, isFasterInBf16 } from './machine.ts';
import { measuredThreads } from './threads.ts';

/**
 * Device, dtype, threads and kernels for a recipe on this machine, `auto` decided: the first CUDA device, else the CPU. Apple's
 * GPU is left alone, because nothing here has been run on it.
 */
export async function resolveCompute(
  recipe: Pick<Recipe, 'compute'>,
  found: readonly string[] = devices(),
): Promise<ResolvedCompute> {
  const { device, dtype, threads, gradientCheckpointing } = recipe.compute;
  const first = (kind: string) => found.find((name) => name.startsWith(kind));
  const wanted = device === 'auto' ? (first('cuda') ?? 'cpu') : first(device);
  if (wanted === undefined) {
    throw new ReckonError(
      'environment',
      'no-such-device',
      `expected a device of this libtorch (${found.join(', ')}), found '${device}'; take auto (compute.device, --device), or install a CUDA build with RECKON_TORCH=cu130`,
    );
  }
  return {
    device: wanted,
    dtype: dtype === 'auto' ? fasterDtype(wanted) : dtype,
    threads: threads !== 'auto' ? threads : wanted === 'cpu' ? measuredThreads() : automaticThreads(),
    ...(gradientCheckpointing === undefined ? {} : { gradientCheckpointing }),
    kernels: kernelLevel(),
  };
}

/** bf16 where there are instructions for it (measured: about twice as fast as f32, masters stay f32), else f32. */
function fasterDtype(device: string): 'f32' | 'bf16' {
  return device.startsWith('cuda') || (device === 'cpu' && isFasterInBf16(describeCpu())) ? 'bf16' : 'f32';
}
