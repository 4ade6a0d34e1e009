/** Owns the `ppo` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import type { Recipe } from '../recipe.ts';
import { type BudgetRecipe, budgetKey } from './budget.ts';
import {
  type AdaptiveWeightRecipe,
  adaptiveWeightsKey,
  checkAdaptive,
  type IntrinsicRecipe,
  idleIntrinsic,
  intrinsicKey,
} from './intrinsic.ts';
import {
  count,
  grouped,
  type IdleKey,
  keysOf,
  label,
  problem,
  type StageKind,
  type StageWords,
  share,
} from './kind.ts';
import {
  checkSchedule,
  describeRate,
  idleSchedule,
  type OptimisationRecipe,
  optimisationKeys,
} from './optimisation.ts';
import {
  checkReference,
  idleReference,
  type ReferenceRecipe,
  referenceKey,
  referenceKeys,
} from './reference.ts';
import { checkRewards, type RewardRecipe, rewardsKey } from './rewards.ts';

/** The penalty for leaving the reference, and how its weight is steered. */
export interface KlPenaltyRecipe {
  readonly coefficient: number;
  readonly estimator: 'k1' | 'k2' | 'k3';
  readonly target: number | null;
  readonly horizon: number;
}

/** Proximal policy optimisation with a value head; `steps` counts rollout steps. */
export interface PpoStage extends OptimisationRecipe, ReferenceRecipe {
  readonly type: 'ppo';
  readonly label?: string | undefined;
  readonly budget?: BudgetRecipe | undefined;
  readonly promptsPerStep: number;
  readonly groupSize: number;
  readonly epochs: number;
  readonly gamma: number;
  readonly lambda: number;
  readonly whitenAdvantages: boolean;
  readonly truncated: 'ends' | 'bootstrap';
  readonly clip: { readonly low: number; readonly high: number };
  readonly value: {
    readonly coefficient: number;
    readonly clip: number | null;
    readonly rateRatio: number;
    readonly pretrainingSteps: number;
    readonly model: string;
  };
  readonly entropyCoefficient: number;
  readonly reference: string;
  readonly kl: KlPenaltyRecipe;
  readonly rewards: readonly RewardRecipe[];
  readonly intrinsic: IntrinsicRecipe | null;
  readonly adaptiveWeights: AdaptiveWeightRecipe | null;
}

/** As the recipe has it, before `optimizerBatch` is derived. */
type Keys = Omit<PpoStage, 'optimizerBatch'> & { readonly optimizerBatch?: number | undefined };

const bound = (): z.ZodNumber => z.number().min(0);

const clipKey = z
  .strictObject({
    low: share().default(0.2).describe('the ratio is clipped below at 1 - low'),
    high: bound().default(0.2).describe('the ratio is clipped above at 1 + high'),
  })
  .prefault({})
  .describe('clipping of the importance ratio');

const valueKey = z
  .strictObject({
    coefficient: bound().default(0.1).describe('weight of the value loss beside the policy loss'),
    clip: bound()
      .nullable()
      .default(0.2)
      .describe('how far a value may move from the one before the updates of the step; null for no bound'),
    rateRatio: z
      .number()
      .positive()
      .default(1)
      .describe("learning rate of the value head, which begins at 0, over the policy's"),
    pretrainingSteps: z
      .int()
      .min(0)
      .default(0)
      .describe('steps at the beginning that teach the values alone'),
    model: z
      .string()
      .min(1)
      .default('trunk')
      .describe(
        "what the head reads: the policy's own `trunk`, or a value model that begins as `start`, a folder or an earlier stage",
      ),
  })
  .prefault({})
  .describe('the value function');

const klKey = z
  .strictObject({
    coefficient: bound().default(0.05).describe('weight of the penalty; where it begins if it has a target'),
    estimator: z.enum(['k1', 'k2', 'k3']).default('k1').describe("estimator of the KL (Schulman's names)"),
    target: z
      .number()
      .positive()
      .nullable()
      .default(null)
      .describe('nats a completion that the coefficient is steered to; null keeps it fixed'),
    horizon: count().default(10_000).describe('completions over which it changes by a fifth at most'),
  })
  .prefault({})
  .describe('penalty a token for leaving the reference policy');

const schema = keysOf<Keys>(
  z
    .strictObject({
      type: z.literal('ppo'),
      label: label().optional(),
      steps: count().describe('rollout steps: each samples, then updates'),
      promptsPerStep: count().default(32).describe('problems sampled for each step'),
      groupSize: count().default(1).describe('completions for each problem'),
      optimizerBatch: count()
        .optional()
        .describe(
          'sequences in one optimizer step, a divisor of promptsPerStep x groupSize; by default all of them',
        ),
      epochs: count().default(4).describe('passes over the rollouts of a step'),
      gamma: share().default(1).describe('discount of later rewards'),
      lambda: share()
        .default(0.95)
        .describe('of generalised advantage estimation: 1 Monte Carlo, 0 one-step differences'),
      whitenAdvantages: z
        .boolean()
        .default(true)
        .describe('bring the advantages of a step to mean 0 and standard deviation 1'),
      truncated: z
        .enum(['ends', 'bootstrap'])
        .default('ends')
        .describe(
          'a completion cut at the length limit: its score counts, or the value of what would follow',
        ),
      clip: clipKey,
      value: valueKey,
      entropyCoefficient: bound().default(0).describe('weight of the entropy bonus'),
      reference: referenceKey().default('start'),
      ...referenceKeys(),
      kl: klKey,
      rewards: rewardsKey(),
      budget: budgetKey(),
      intrinsic: intrinsicKey(),
      adaptiveWeights: adaptiveWeightsKey(),
      ...optimisationKeys({ learningRate: 1e-4, schedule: 'constant' }),
    })
    .describe('proximal policy optimisation with a value head'),
);

export const ppoKind: StageKind<PpoStage> = {
  schema,
  trains: true,
  samples: true,
  derive: (stage) => ({
    ...stage,
    optimizerBatch: (stage as Keys).optimizerBatch ?? stage.promptsPerStep * stage.groupSize,
  }),
  check,
  idle,
  plan,
};

function check(stage: PpoStage, path: KeyPath): RecipeProblem[] {
  const { promptsPerStep, groupSize, optimizerBatch, kl, value, steps, intrinsic } = stage;
  const sequences = promptsPerStep * groupSize;
  const found = checkSchedule(stage, path);
  if (sequences % optimizerBatch !== 0) {
    const product = `promptsPerStep x groupSize = ${promptsPerStep} x ${groupSize} = ${sequences}`;
    found.push(problem([...path, 'optimizerBatch'], `must divide ${product}, found ${optimizerBatch}`));
  }
  if (kl.target !== null && stage.reference === 'none')
    found.push(problem([...path, 'reference'], 'must be start where kl.target is set, found none'));
  if (kl.target !== null && kl.coefficient === 0)
    found.push(
      problem([...path, 'kl', 'coefficient'], 'must be more than 0 where kl.target steers it, found 0'),
    );
  if (value.pretrainingSteps >= steps)
    found.push(
      problem(
        [...path, 'value', 'pretrainingSteps'],
        `must be less than steps = ${steps}, found ${value.pretrainingSteps}`,
      ),
    );
  return [
    ...found,
    ...checkReference(stage, path),
    ...checkAdaptive(stage, path),
    ...checkRewards(stage.rewards, [...path, 'rewards'], (intrinsic?.weight ?? 0) > 0),
  ];
}

function idle(stage: PpoStage): IdleKey[] {
  const { kl, reference, value } = stage;
  const found = [...idleReference(stage), ...idleIntrinsic(stage.intrinsic), ...idleSchedule(stage)];
  const without = 'there is no KL without a reference';
  if (reference === 'none')
    found.push(
      { keys: ['kl', 'coefficient'], because: without, off: 0 },
      { keys: ['kl', 'estimator'], because: without },
    );
  if (kl.target === null)
    found.push({ keys: ['kl', 'horizon'], because: 'kl.coefficient is fixed without kl.target' });
  if (value.model !== 'trunk')
    found.push({
      keys: ['value', 'coefficient'],
      because: 'a value model apart shares no loss with the policy; value.rateRatio sets its pace',
    });
  return found;
}

function plan(stage: PpoStage, recipe: Recipe): StageWords {
  const sequencesPerStep = stage.promptsPerStep * stage.groupSize;
  const updatesPerStep = (sequencesPerStep / stage.optimizerBatch) * stage.epochs;
  const rollouts = stage.steps * sequencesPerStep;
  const updates = stage.steps * updatesPerStep;
  const checkpoints = Math.ceil(stage.steps / recipe.checkpoints.every);
  const batches = `${grouped(stage.steps)} steps of ${stage.promptsPerStep} problems x ${stage.groupSize} completions`;
  const passes = `${stage.epochs} ${stage.epochs === 1 ? 'epoch' : 'epochs'}`;
  const teacher = stage.intrinsic ? `, intrinsic reward of ${stage.intrinsic.teacher}` : '';
  const summary = `${batches} = ${grouped(rollouts)} rollouts, ${grouped(updates)} updates of ${stage.optimizerBatch} in ${passes} a step${teacher}, ${describeRate(stage)}`;
  return {
    summary,
    numbers: { steps: stage.steps, sequencesPerStep, updatesPerStep, rollouts, updates, checkpoints },
  };
}
