/** Owns the `grpo` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import { LEAST_TEMPERATURE } from '../../generate/sampling.ts';
import type { EngineRecipe } from '../engine.ts';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import type { Recipe } from '../recipe.ts';
import { type BudgetRecipe, budgetKey } from './budget.ts';
import { checkEstimator, idleGrpo } from './grpo-idle.ts';
import { type GrpoPresetName, grpoPresetNames, grpoPresets } from './grpo-presets.ts';
import {
  type AdaptiveWeightRecipe,
  adaptiveWeightsKey,
  checkAdaptive,
  type IntrinsicRecipe,
  intrinsicKey,
} from './intrinsic.ts';
import { count, grouped, keysOf, label, problem, type StageKind, type StageWords, share } from './kind.ts';
import { checkLength, type LengthRecipe, lengthKeys, passesOver } from './length.ts';
import { describeRate, type OptimisationRecipe, optimisationKeys } from './optimisation.ts';
import { checkReference, type ReferenceRecipe, referenceKey, referenceKeys } from './reference.ts';
import {
  type AdaptiveEntropyRecipe,
  adaptiveEntropyKey,
  type ImportanceRecipe,
  importanceKey,
  type ReplayRecipe,
  replayKey,
} from './replay.ts';
import { checkRewards, type RewardRecipe, rewardsKey } from './rewards.ts';

/** What tells the members of the family apart; a preset sets some of it. */
export interface GrpoSwitches {
  readonly objective: 'clip' | 'cispo' | 'sapo' | 'vespo' | 'gmpo' | 'reinforce';
  readonly ratioLevel: 'token' | 'sequence' | 'sequence-token' | 'sequence-product';
  readonly clip: {
    readonly low: number;
    readonly high: number;
    readonly cap: number | null;
    readonly dual: number | null;
  };
  readonly kl: {
    readonly beta: number;
    readonly estimator: 'k1' | 'k2' | 'k3' | 'k3+';
    readonly corrected: boolean;
    readonly place: 'loss' | 'reward' | 'tokens';
  };
  readonly reference: string;
  readonly advantages: {
    readonly baseline: 'group' | 'leave-one-out' | 'decoupled' | 'none';
    readonly scale: 'group' | 'batch' | 'none';
    readonly epsilon: number;
    readonly ddof: 0 | 1;
    readonly whiten: boolean | 'tokens';
    readonly maxMomentum: number;
  };
  readonly lossDenominator: 'tokens' | 'sequences' | 'constant' | 'token-sums';
  readonly maskTruncated: boolean;
  readonly maxDraws: number;
}

/** Group-relative policy optimisation; `steps` counts rollout steps, `dataEpochs` passes over the problems. */
export interface GrpoStage
  extends Omit<OptimisationRecipe, 'steps'>,
    LengthRecipe,
    GrpoSwitches,
    ReferenceRecipe {
  readonly type: 'grpo';
  readonly label?: string | undefined;
  readonly budget?: BudgetRecipe | undefined;
  readonly preset: GrpoPresetName;
  readonly promptsPerStep: number;
  readonly groupSize: number;
  readonly epochs: number;
  readonly entropyCoefficient: number;
  readonly topEntropyShare: number;
  readonly offPolicyThreshold?: number | undefined;
  readonly temperatureEnd?: number | undefined;
  readonly temperatureSchedule: 'exponential' | 'linear';
  readonly importance: ImportanceRecipe;
  readonly replay: ReplayRecipe | null;
  readonly adaptiveEntropy: AdaptiveEntropyRecipe | null;
  readonly intrinsic: IntrinsicRecipe | null;
  readonly adaptiveWeights: AdaptiveWeightRecipe | null;
  readonly rewards: readonly RewardRecipe[];
}

type Loose<T> = { readonly [K in keyof T]?: T[K] | undefined };
type LooseSwitches = {
  readonly [K in keyof GrpoSwitches]?:
    | (GrpoSwitches[K] extends object ? Loose<GrpoSwitches[K]> : GrpoSwitches[K])
    | undefined;
};

/** As the recipe has it, before the preset fills in what it does not say. */
type GrpoKeys = Omit<GrpoStage, 'optimizerBatch' | keyof GrpoSwitches> &
  LooseSwitches & { readonly optimizerBatch?: number | undefined };

const defaults: GrpoSwitches = {
  objective: 'clip',
  ratioLevel: 'token',
  clip: { low: 0.2, high: 0.2, cap: null, dual: null },
  kl: { beta: 0, estimator: 'k3', corrected: false, place: 'loss' },
  reference: 'none',
  advantages: {
    baseline: 'group',
    scale: 'group',
    epsilon: 1e-4,
    ddof: 1,
    whiten: false,
    maxMomentum: 0,
  },
  lossDenominator: 'tokens',
  maskTruncated: false,
  maxDraws: 1,
};

const bound = (): z.ZodNumber => z.number().min(0);

const switches = {
  objective: z
    .enum(['clip', 'cispo', 'sapo', 'vespo', 'gmpo', 'reinforce'])
    .optional()
    .describe('the policy term; `clip` is the clipped surrogate'),
  ratioLevel: z
    .enum(['token', 'sequence', 'sequence-token', 'sequence-product'])
    .optional()
    .describe('of what the importance ratio is'),
  clip: z
    .strictObject({
      low: share().optional().describe('the ratio is clipped below at 1 - low'),
      high: bound().optional().describe('the ratio is clipped above at 1 + high'),
      cap: bound()
        .nullable()
        .optional()
        .describe('largest ratio whatever the advantage (two-sided clipping)'),
      dual: bound()
        .nullable()
        .optional()
        .describe('bound of the loss of a negative advantage, over its size'),
    })
    .optional()
    .describe('clipping of the importance ratio'),
  kl: z
    .strictObject({
      beta: bound().optional().describe('weight of the KL term'),
      estimator: z
        .enum(['k1', 'k2', 'k3', 'k3+'])
        .optional()
        .describe("estimator of the KL (Schulman's names)"),
      corrected: z
        .boolean()
        .optional()
        .describe('multiply the estimate with the ratio (TRL: use_bias_correction_kl)'),
      place: z
        .enum(['loss', 'reward', 'tokens'])
        .optional()
        .describe('added to the loss, or taken from the reward of a completion or of each of its tokens'),
    })
    .optional()
    .describe('distance to the reference policy'),
  reference: referenceKey().optional(),
  advantages: z
    .strictObject({
      baseline: z
        .enum(['group', 'leave-one-out', 'decoupled', 'none'])
        .optional()
        .describe('what is taken from a reward; `decoupled` normalises each reward by itself first'),
      scale: z.enum(['group', 'batch', 'none']).optional().describe('what standard deviation divides'),
      epsilon: bound().optional().describe('added to that standard deviation'),
      ddof: z
        .union([z.literal(0), z.literal(1)])
        .optional()
        .describe('taken from the count in it'),
      whiten: z
        .union([z.boolean(), z.literal('tokens')])
        .optional()
        .describe('bring the batch to mean 0 and standard deviation 1, over completions or over tokens'),
      maxMomentum: share().optional().describe('running normalisation over groups; 0 is off'),
    })
    .optional()
    .describe('how rewards become advantages'),
  lossDenominator: z
    .enum(['tokens', 'sequences', 'constant', 'token-sums'])
    .optional()
    .describe('what the summed loss is divided by'),
  maskTruncated: z.boolean().optional().describe('completions cut at the length limit do not count'),
  maxDraws: count()
    .optional()
    .describe(
      'draw problems up to this many times until the rewards spread in all groups of a step, intrinsic ones left out; 1 is off',
    ),
};

const schema = keysOf<GrpoKeys>(
  z
    .strictObject({
      type: z.literal('grpo'),
      label: label().optional(),
      preset: z
        .enum(grpoPresetNames)
        .default('grpo')
        .describe('member of the family whose settings fill in what is not said here (docs/papers.md)'),
      ...lengthKeys('rollout steps: each samples, then updates', 'the problems'),
      promptsPerStep: count().default(8).describe('problems sampled for each step'),
      groupSize: count().default(8).describe('completions for each problem'),
      optimizerBatch: count()
        .optional()
        .describe(
          'sequences in one optimizer step, a divisor of promptsPerStep x groupSize; by default all of them',
        ),
      epochs: count().default(1).describe('passes over the rollouts of a step (TRL: num_iterations)'),
      ...switches,
      entropyCoefficient: z.number().min(0).default(0).describe('weight of the entropy bonus'),
      topEntropyShare: share()
        .default(1)
        .describe('share of tokens, those of highest entropy, whose policy term counts'),
      offPolicyThreshold: bound()
        .optional()
        .describe('nats a token beyond which a completion with a negative advantage does not count'),
      temperatureEnd: z
        .number()
        .min(LEAST_TEMPERATURE)
        .optional()
        .describe('temperature of the last step; the first has sampling.temperature'),
      temperatureSchedule: z
        .enum(['exponential', 'linear'])
        .default('exponential')
        .describe('between them it changes by a constant factor, or by a constant difference'),
      ...referenceKeys(),
      importance: importanceKey(),
      replay: replayKey(),
      adaptiveEntropy: adaptiveEntropyKey(),
      rewards: rewardsKey(),
      intrinsic: intrinsicKey(),
      adaptiveWeights: adaptiveWeightsKey(),
      budget: budgetKey(),
      ...optimisationKeys({ learningRate: 1e-4, schedule: 'constant' }),
    })
    .describe('group-relative policy optimisation and its relatives'),
);

export const grpoKind: StageKind<GrpoStage> = {
  schema,
  trains: true,
  samples: true,
  derive: fill,
  check,
  idle: idleGrpo,
  plan,
};

/** Explicit keys win over the preset, the preset over the defaults, key by key also inside clip, kl and advantages. */
function fill(stage: GrpoStage, engine: EngineRecipe): GrpoStage {
  const said = stage as unknown as GrpoKeys;
  const preset: Partial<GrpoSwitches> = grpoPresets[stage.preset];
  const merged = Object.fromEntries(
    Object.entries(defaults).map(([key, value]) => {
      const name = key as keyof GrpoSwitches;
      if (typeof value !== 'object') return [name, said[name] ?? preset[name] ?? value];
      const own = Object.entries((said[name] ?? {}) as object).filter(([, one]) => one !== undefined);
      return [name, { ...value, ...(preset[name] as object | undefined), ...Object.fromEntries(own) }];
    }),
  ) as unknown as GrpoSwitches;
  // A baseline that nothing divides has no scale to name.
  const { baseline, scale } = merged.advantages;
  const isDivided = baseline === 'group' || baseline === 'decoupled';
  const own = { ...merged.advantages, scale: said.advantages?.scale ?? (isDivided ? scale : 'none') };
  const always = stage.importance.always ?? engine.kind === 'remote';
  return {
    ...stage,
    ...merged,
    advantages: own,
    importance: { ...stage.importance, always },
    optimizerBatch: said.optimizerBatch ?? sequencesOf(stage),
  };
}

/** Sequences that a step learns from, replayed ones included. */
function sequencesOf({ promptsPerStep, groupSize, replay }: GrpoStage): number {
  return (promptsPerStep + (replay?.groupsPerStep ?? 0)) * groupSize;
}

function check(stage: GrpoStage, path: KeyPath): RecipeProblem[] {
  const { promptsPerStep, groupSize, optimizerBatch, intrinsic, replay } = stage;
  const sequences = sequencesOf(stage);
  const found = checkLength(stage, 'dataEpochs', path);
  if (groupSize < 2 && stage.advantages.baseline !== 'none') {
    const reason = 'because an advantage is a difference from the mean of its group';
    found.push(problem([...path, 'groupSize'], `must be at least 2, ${reason}, found ${groupSize}`));
  }
  if (groupSize < 2 && stage.maxDraws > 1) {
    const reason = 'because one completion has no spread';
    found.push(problem([...path, 'maxDraws'], `must be 1 where groupSize is 1, ${reason}`));
  }
  if (stage.maxDraws > 1 && stage.dataEpochs !== undefined) {
    const reason = 'because drawing again takes problems that no pass counts; give steps';
    found.push(problem([...path, 'dataEpochs'], `must be left out where maxDraws is above 1, ${reason}`));
  }
  if (stage.maxDraws > 1 && !stage.rewards.some(({ weight }) => weight > 0)) {
    const reason = 'because it looks for rewards that differ before those of a teacher are added';
    found.push(problem([...path, 'maxDraws'], `must be 1 where no reward has a weight above 0, ${reason}`));
  }
  if (sequences % optimizerBatch !== 0) {
    const product = replay
      ? `(promptsPerStep + replay.groupsPerStep) x groupSize = (${promptsPerStep} + ${replay.groupsPerStep}) x ${groupSize}`
      : `promptsPerStep x groupSize = ${promptsPerStep} x ${groupSize}`;
    found.push(
      problem([...path, 'optimizerBatch'], `must divide ${product} = ${sequences}, found ${optimizerBatch}`),
    );
  }
  if (stage.kl.beta > 0 && stage.reference === 'none') {
    found.push(problem([...path, 'reference'], 'must be start where kl.beta is more than 0, found none'));
  }
  if (stage.maxDraws > 1 && stage.advantages.maxMomentum) {
    const reason = 'because a running mean must see the groups without spread too';
    found.push(problem([...path, 'maxDraws'], `must be 1 with advantages.maxMomentum, ${reason}`));
  }
  return [
    ...found,
    ...checkEstimator(stage, path),
    ...checkReference(stage, path),
    ...checkAdaptive(stage, path),
    ...checkRewards(stage.rewards, [...path, 'rewards'], (intrinsic?.weight ?? 0) > 0),
  ];
}

function plan(stage: GrpoStage, recipe: Recipe): StageWords {
  const { steps, dataEpochs, promptsPerStep, groupSize, optimizerBatch } = stage;
  const sequencesPerStep = promptsPerStep * groupSize;
  const updatesPerStep = (sequencesOf(stage) / optimizerBatch) * stage.epochs;
  const name = stage.preset === 'grpo' ? '' : `${stage.preset}: `;
  const batches = `steps of ${promptsPerStep} problems x ${groupSize} completions`;
  if (steps === undefined) {
    const passes = passesOver(dataEpochs ?? 0, `the problems in ${batches}`);
    const summary = `${name}${passes}, updates of ${optimizerBatch}, ${describeRate(stage)}`;
    return { summary, numbers: { dataEpochs: dataEpochs ?? 0, sequencesPerStep, updatesPerStep } };
  }
  const rollouts = steps * sequencesPerStep;
  const updates = steps * updatesPerStep;
  const checkpoints = Math.ceil(steps / recipe.checkpoints.every);
  const summary = `${name}${grouped(steps)} ${batches} = ${grouped(rollouts)} rollouts, ${grouped(updates)} updates of ${optimizerBatch}, ${describeRate(stage)}`;
  return { summary, numbers: { steps, sequencesPerStep, updatesPerStep, rollouts, updates, checkpoints } };
}
