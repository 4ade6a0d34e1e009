/** Owns the wiring of stages to trainers. A placeholder until the trainers are there: every stage says so. */

import type { Recipe } from '../recipe/index.ts';
import type { ResolvedCompute, StageOutcome } from '../train/context.ts';
import { ReckonError } from '../util/errors.ts';
import { automaticThreads } from './machine.ts';
import type { StageFunctions } from './stages.ts';

/** One function a stage type. */
export const stageFunctions: StageFunctions = {
  prepare: missing,
  evaluate: missing,
  sft: missing,
  grpo: missing,
  report: missing,
};

/** Device, dtype, threads and kernels for a recipe on this machine. */
export async function resolveCompute(recipe: Recipe): Promise<ResolvedCompute> {
  const { threads } = recipe.compute;
  return {
    device: 'cpu',
    dtype: 'f32',
    threads: threads === 'auto' ? automaticThreads() : threads,
    kernels: 'none',
  };
}

async function missing(): Promise<StageOutcome> {
  throw new ReckonError('internal', 'stage-missing', 'this stage is not wired to a trainer yet');
}
