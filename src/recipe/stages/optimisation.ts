/** Owns the keys that every trained stage has: AdamW, its schedule, micro-batches. Runs nothing. */

import * as z from 'zod';
import { isMetricName } from '../../track/metric-names.ts';
import { type AdapterRecipe, adapterKey } from '../adapter.ts';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import { fromKey } from './budget.ts';
import { count, type IdleKey, problem, share } from './kind.ts';

/** What every trained stage says about AdamW and its schedule. */
export interface OptimisationRecipe {
  readonly steps: number;
  readonly optimizerBatch: number;
  readonly microBatchTokens: number;
  readonly learningRate: number;
  readonly warmupSteps: number;
  readonly schedule: 'constant' | 'linear' | 'cosine' | 'wsd';
  readonly minLearningRateRatio: number;
  readonly weightDecay: number;
  readonly betas: readonly [number, number];
  readonly adamEpsilon: number;
  readonly maxGradNorm: number;
  readonly adapter?: AdapterRecipe | undefined;
  readonly timeLimitMinutes?: number | undefined;
  readonly earlyStop: EarlyStopRecipe | null;
  /** The earlier stage that this one starts from. */
  readonly from?: string | undefined;
}

/** A stage ends when a metric has not improved so many times in a row. */
export interface EarlyStopRecipe {
  readonly metric: string;
  readonly patience: number;
  readonly minDelta: number;
  readonly window: number;
  readonly better?: 'higher' | 'lower' | undefined;
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

const earlyStopKey = z
  .strictObject({
    metric: z
      .string()
      .refine(isMetricName, 'must be the name of a metric')
      .describe('a name of metrics.jsonl, such as reward/mean; steps without it do not count'),
    patience: count().describe('measurements in a row without a better one'),
    minDelta: z.number().min(0).default(0).describe('how much better counts as better'),
    window: count().default(1).describe('the mean of so many measurements is compared'),
    better: z
      .enum(['higher', 'lower'])
      .optional()
      .describe('which direction is good; by default what the table of metrics says'),
  })
  .nullable()
  .default(null)
  .describe('the stage ends where a metric no longer improves; null for never');

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
      .enum(['constant', 'linear', 'cosine', 'wsd'])
      .default(defaults.schedule)
      .describe('decay after the warm-up; `wsd` decays over the last tenth of the steps alone'),
    minLearningRateRatio: share()
      .default(0)
      .describe('learning rate of the last step over its peak; at 0 that step changes nothing'),
    weightDecay: z
      .number()
      .min(0)
      .default(0)
      .describe("decoupled weight decay of matrices and of DoRA's magnitudes"),
    betas: z
      .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
      .default([0.9, 0.95])
      .describe('decay rates of the moments of AdamW'),
    adamEpsilon: z.number().positive().default(1e-8).describe('added to the root of the second moment'),
    maxGradNorm: z.number().positive().default(1).describe('the gradient is clipped to this global norm'),
    adapter: adapterKey(),
    timeLimitMinutes: z.number().positive().optional().describe('the stage ends after so much training'),
    earlyStop: earlyStopKey,
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

/** What a schedule does not read. */
export function idleSchedule({ schedule }: Pick<OptimisationRecipe, 'schedule'>): IdleKey[] {
  if (schedule !== 'constant') return [];
  return [{ keys: ['minLearningRateRatio'], because: 'schedule constant ends at its peak' }];
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
