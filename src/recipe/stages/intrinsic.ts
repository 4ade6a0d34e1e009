/** Owns how a stage names a teacher's intrinsic reward, its normaliser and its cache, and adapting weights. Runs nothing. */

import * as z from 'zod';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import { count, type IdleKey, problem, share } from './kind.ts';
import type { RewardRecipe } from './rewards.ts';

/** A teacher's reward of every token. */
export interface IntrinsicRecipe {
  readonly teacher: string;
  readonly form: 'bellman' | 'logprob' | 'centered';
  readonly alpha: number;
  readonly gamma: number;
  readonly weight: number;
  readonly normaliser: {
    readonly name: 'none' | 'mean-std' | 'min-max' | 'z-score' | 'robust' | 'running';
    readonly clip: number | null;
    readonly momentum: number;
  };
  readonly cache: {
    readonly maxBytes: number;
    readonly eviction: 'lru' | 'lfu' | 'fifo';
    readonly file?: string | undefined;
  } | null;
  readonly truncated: 'bootstrap' | 'mask';
  readonly device?: string | undefined;
}

/** Weights that follow each part's correlation with the total. */
export interface AdaptiveWeightRecipe {
  readonly rate: number;
  readonly least: number;
  readonly most: number;
}

const normaliserKey = z
  .strictObject({
    name: z
      .enum(['none', 'mean-std', 'min-max', 'z-score', 'robust', 'running'])
      .default('mean-std')
      .describe('moving averages of mean and std, or of least and most; this batch alone; all values so far'),
    clip: z
      .number()
      .positive()
      .nullable()
      .default(5)
      .describe('rewards end within [-clip, clip]; null for no bound'),
    momentum: share().default(0.99).describe('weight of the past in the moving averages'),
  })
  .prefault({})
  .describe('how the rewards of a step are brought to one scale, before the weight');

const cacheKey = z
  .strictObject({
    maxBytes: count()
      .default(64 * 2 ** 20)
      .describe('52 bytes a token; the file may be twice as large'),
    eviction: z.enum(['lru', 'lfu', 'fifo']).default('lru').describe('what a full cache drops first'),
    file: z
      .string()
      .min(1)
      .optional()
      .describe(
        "a file that other runs find again; by default one in the stage's folder, empty at the start",
      ),
  })
  .nullable()
  .default(null)
  .describe("keep the teacher's scores by token prefix in the stage's folder; null keeps none");

/** The key `intrinsic`; null, the default, is none. */
export function intrinsicKey(): z.ZodType<IntrinsicRecipe | null> {
  return z
    .strictObject({
      teacher: z.string().min(1).describe("the teacher's model folder; its tokenizer must be the student's"),
      form: z
        .enum(['bellman', 'logprob', 'centered'])
        .default('bellman')
        .describe('Q(s, a) - gamma V(next s); alpha log pi alone; or the first with the mean of Q taken off'),
      alpha: z.number().positive().default(1).describe('temperature of the soft maximum V'),
      gamma: share().default(1).describe('discount of the value of the next state'),
      weight: z.number().min(0).default(0.02).describe("factor of a token's normalised reward"),
      normaliser: normaliserKey,
      cache: cacheKey,
      truncated: z
        .enum(['bootstrap', 'mask'])
        .default('bootstrap')
        .describe(
          "the last token of a cut-off completion: rewarded by the teacher's value of what would follow, or not at all",
        ),
      device: z
        .string()
        .min(1)
        .optional()
        .describe(
          'where the teacher computes; by default with the policy, or with device auto on a GPU of its own where there are several',
        ),
    })
    .nullable()
    .default(null)
    .describe("a frozen teacher's reward of every token; null for none");
}

/** The key `adaptiveWeights`; null, the default, keeps the weights. */
export function adaptiveWeightsKey(): z.ZodType<AdaptiveWeightRecipe | null> {
  return z
    .strictObject({
      rate: share().default(0.01).describe('share of a weight that one step replaces'),
      least: share().default(0.05).describe('least share of the sum of weights'),
      most: share().default(0.9).describe('largest share of the sum of weights'),
    })
    .nullable()
    .default(null)
    .describe("reward weights that follow each part's correlation with the total; null keeps them");
}

/** Adapting weights that cannot keep their bounds. */
export function checkAdaptive(
  {
    rewards,
    intrinsic,
    adaptiveWeights,
  }: {
    readonly rewards: readonly RewardRecipe[];
    readonly intrinsic: IntrinsicRecipe | null;
    readonly adaptiveWeights: AdaptiveWeightRecipe | null;
  },
  path: KeyPath,
): RecipeProblem[] {
  if (!adaptiveWeights) return [];
  const found: RecipeProblem[] = [];
  const { least, most } = adaptiveWeights;
  const given = [...rewards.map((reward) => reward.weight), intrinsic?.weight ?? 0];
  const weights = given.filter((weight) => weight !== 0).length;
  if (weights < 2)
    found.push(problem([...path, 'adaptiveWeights'], `needs at least 2 weighted rewards, found ${weights}`));
  if (least * weights > 1 || most * weights < 1) {
    const rest = `must leave room for ${weights} shares that sum to 1, found least ${least} and most ${most}`;
    found.push(problem([...path, 'adaptiveWeights'], rest));
  }
  const negative = rewards.findIndex((reward) => reward.weight < 0);
  if (negative >= 0)
    found.push(problem([...path, 'rewards', negative, 'weight'], 'must not be below 0 where weights adapt'));
  return found;
}

/** What a form and a normaliser do not read. */
export function idleIntrinsic(intrinsic: IntrinsicRecipe | null): IdleKey[] {
  if (intrinsic === null) return [];
  const found: IdleKey[] = [];
  const { form, normaliser } = intrinsic;
  if (form === 'logprob') {
    const because = 'intrinsic.form logprob knows no next state';
    found.push({ keys: ['intrinsic', 'gamma'], because }, { keys: ['intrinsic', 'truncated'], because });
  }
  if (normaliser.name !== 'mean-std' && normaliser.name !== 'min-max') {
    const because = `intrinsic.normaliser ${normaliser.name} has no moving averages`;
    found.push({ keys: ['intrinsic', 'normaliser', 'momentum'], because });
  }
  return found;
}
