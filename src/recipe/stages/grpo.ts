/** Owns the `grpo` stage of a recipe. Runs nothing. */

import * as z from 'zod';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import type { Recipe } from '../recipe.ts';
import { count, grouped, keysOf, label, problem, type StageKind, type StageWords, share } from './kind.ts';
import { checkSchedule, describeRate, type OptimisationRecipe, optimisationKeys } from './optimisation.ts';
import { checkRewards, type RewardRecipe, rewardsKey } from './rewards.ts';

/** Group-relative policy optimisation; `steps` counts rollout steps. */
export interface GrpoStage extends OptimisationRecipe {
  readonly type: 'grpo';
  readonly label?: string | undefined;
  readonly promptsPerStep: number;
  readonly groupSize: number;
  readonly epochs: number;
  readonly clip: { readonly low: number; readonly high: number };
  readonly kl: { readonly beta: number; readonly estimator: 'k1' | 'k2' | 'k3' };
  readonly reference: 'none' | 'start';
  readonly advantages: { readonly scale: 'group' | 'batch' | 'none'; readonly epsilon: number };
  readonly lossDenominator: 'tokens' | 'sequences' | 'constant';
  readonly rewards: readonly RewardRecipe[];
}

/** As the recipe has it, before `optimizerBatch` is derived. */
type GrpoKeys = Omit<GrpoStage, 'optimizerBatch'> & { readonly optimizerBatch?: number | undefined };

const schema = keysOf<GrpoKeys>(
  z
    .strictObject({
      type: z.literal('grpo'),
      label: label().optional(),
      steps: count().describe('rollout steps: each samples, then updates'),
      promptsPerStep: count().default(8).describe('problems sampled for each step'),
      groupSize: count().default(8).describe('completions for each problem'),
      optimizerBatch: count()
        .optional()
        .describe(
          'sequences in one optimizer step, a divisor of promptsPerStep x groupSize; by default all of them',
        ),
      epochs: count().default(1).describe('passes over the rollouts of a step'),
      clip: z
        .strictObject({
          low: share().default(0.2).describe('the ratio is clipped below at 1 - low'),
          high: z.number().min(0).default(0.2).describe('the ratio is clipped above at 1 + high'),
        })
        .prefault({})
        .describe('clipping of the importance ratio'),
      kl: z
        .strictObject({
          beta: z.number().min(0).default(0).describe('weight of the KL term in the loss'),
          estimator: z
            .enum(['k1', 'k2', 'k3'])
            .default('k3')
            .describe("estimator of the KL (Schulman's names)"),
        })
        .prefault({})
        .describe('distance to the reference policy'),
      reference: z
        .enum(['none', 'start'])
        .default('none')
        .describe('`start`: the model that the stage begins with'),
      advantages: z
        .strictObject({
          scale: z
            .enum(['group', 'batch', 'none'])
            .default('group')
            .describe('what standard deviation divides'),
          epsilon: z.number().min(0).default(1e-4).describe('added to that standard deviation'),
        })
        .prefault({})
        .describe('rewards, centred on the mean of their group, become advantages'),
      lossDenominator: z
        .enum(['tokens', 'sequences', 'constant'])
        .default('tokens')
        .describe('what the summed loss is divided by'),
      rewards: rewardsKey(),
      ...optimisationKeys({ learningRate: 1e-4, schedule: 'constant' }),
    })
    .describe('group-relative policy optimisation'),
);

export const grpoKind: StageKind<GrpoStage> = {
  schema,
  trains: true,
  samples: true,
  derive: (stage) => ({
    ...stage,
    optimizerBatch: stage.optimizerBatch ?? stage.promptsPerStep * stage.groupSize,
  }),
  check,
  plan,
};

function check(stage: GrpoStage, path: KeyPath): RecipeProblem[] {
  const { promptsPerStep, groupSize, optimizerBatch } = stage;
  const sequences = promptsPerStep * groupSize;
  const found = checkSchedule(stage, path);
  if (groupSize < 2) {
    const reason = 'because an advantage is a difference from the mean of its group';
    found.push(problem([...path, 'groupSize'], `must be at least 2, ${reason}, found ${groupSize}`));
  }
  if (sequences % optimizerBatch !== 0) {
    const product = `promptsPerStep x groupSize = ${promptsPerStep} x ${groupSize} = ${sequences}`;
    found.push(problem([...path, 'optimizerBatch'], `must divide ${product}, found ${optimizerBatch}`));
  }
  if (stage.kl.beta > 0 && stage.reference === 'none') {
    found.push(problem([...path, 'reference'], 'must be start where kl.beta is more than 0, found none'));
  }
  return [...found, ...checkRewards(stage.rewards, [...path, 'rewards'])];
}

function plan(stage: GrpoStage, recipe: Recipe): StageWords {
  const sequencesPerStep = stage.promptsPerStep * stage.groupSize;
  const updatesPerStep = (sequencesPerStep / stage.optimizerBatch) * stage.epochs;
  const rollouts = stage.steps * sequencesPerStep;
  const updates = stage.steps * updatesPerStep;
  const checkpoints = Math.ceil(stage.steps / recipe.checkpoints.every);
  const batches = `${grouped(stage.steps)} steps of ${stage.promptsPerStep} problems x ${stage.groupSize} completions`;
  const summary = `${batches} = ${grouped(rollouts)} rollouts, ${grouped(updates)} updates of ${stage.optimizerBatch}, ${describeRate(stage)}`;
  return {
    summary,
    numbers: { steps: stage.steps, sequencesPerStep, updatesPerStep, rollouts, updates, checkpoints },
  };
}
