/** Owns the keys that every trained stage has: AdamW, its schedule, micro-batches. Runs nothing. */

import * as z from 'zod';
import { type AdapterRecipe, adapterKey } from '../adapter.ts';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import { fromKey } from './budget.ts';
import { count, problem, share } from './kind.ts';

/** What every trained stage says about AdamW and its schedule. */
export interface OptimisationRecipe {
  readonly steps: number;
  readonly optimizerBatch: number;
  readonly microBatchTokens: number;
  readonly learningRate: number;
  readonly warmupSteps: number;
  readonly schedule: 'constant' | 'linear' | 'cosine';
  readonly minLearningRateRatio: number;
  readonly weightDecay: number;
  readonly betas: readonly [number, number];
  readonly adamEpsilon: number;
  readonly maxGradNorm: number;
  readonly adapter?: AdapterRecipe | undefined;
  /** The earlier stage that this one starts from. */
  readonly from?: string | undefined;
}

/** What a kind of stage starts from where the recipe is silent. */
export interface OptimisationDefaults {
  readonly learningRate: number;
  readonly schedule: OptimisationRecipe['schedule'];
}

type OptimisationKeys = {
  readonly [K in Exclude<keyof OptimisationRecipe, 'steps' | 'optimizerBatch'>]: z.ZodType<
    OptimisationRecipe[K]
  >;
};

/** The keys of a trained stage beside `steps` and `optimizerBatch`. */
export function optimisationKeys(defaults: OptimisationDefaults): OptimisationKeys {
  return {
    microBatchTokens: count()
      .default(16384)
      .describe('tokens, padding included, in one forward pass; no effect on results'),
    learningRate: z
      .number()
      .positive()
      .default(defaults.learningRate)
      .describe('peak learning rate of AdamW'),
    warmupSteps: z.int().min(0).default(0).describe('steps of linear warm-up, at most `steps`'),
    schedule: z
      .enum(['constant', 'linear', 'cosine'])
      .default(defaults.schedule)
      .describe('decay after the warm-up'),
    minLearningRateRatio: share().default(0).describe('learning rate at the end over its peak'),
    weightDecay: z.number().min(0).default(0).describe('decoupled weight decay of matrices'),
    betas: z
      .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
      .default([0.9, 0.95])
      .describe('decay rates of the moments of AdamW'),
    adamEpsilon: z.number().positive().default(1e-8).describe('added to the root of the second moment'),
    maxGradNorm: z.number().positive().default(1).describe('the gradient is clipped to this global norm'),
    adapter: adapterKey(),
    from: fromKey(),
  };
}

/** A warm-up that is longer than the stage. */
export function checkSchedule(
  stage: Pick<OptimisationRecipe, 'steps' | 'warmupSteps'>,
  path: KeyPath,
): RecipeProblem[] {
  if (stage.warmupSteps <= stage.steps) return [];
  return [
    problem([...path, 'warmupSteps'], `must be at most steps = ${stage.steps}, found ${stage.warmupSteps}`),
  ];
}

/** The learning rate in words. */
export function describeRate({
  learningRate,
  schedule,
  warmupSteps,
}: Pick<OptimisationRecipe, 'learningRate' | 'schedule' | 'warmupSteps'>): string {
  const warmup = warmupSteps === 0 ? '' : ` after ${warmupSteps} of warm-up`;
  return `learning rate ${learningRate} (${schedule}${warmup})`;
}
