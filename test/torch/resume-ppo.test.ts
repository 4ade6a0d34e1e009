/**
 * Exact resume of PPO: ten steps are, bit for bit, five steps, a stop, and five more from the checkpoint; and also
 * where the process was killed, so that files know of a step which no checkpoint has.
 */

import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { workWithSpread } from './spread-reward.ts';
import { expectExactResume, Harness, recipeWith } from './stage-harness.ts';

const optimisation = 'optimizerBatch: 8, microBatchTokens: 512, learningRate: 2.0e-3';

const harness = new Harness();
/** The model before fine-tuning: a teacher that differs from the student everywhere. */
const teacher = join(harness.folder, 'base-0', 'checkpoints', 'step-000000');

/** One stage of ten steps a row; what is special about it is in the line. */
const stages: readonly (readonly [name: string, stage: string])[] = [
  [
    'ppo with value pre-training, minibatches and a steered KL',
    `- { type: ppo, steps: 10, promptsPerStep: 8, groupSize: 2, epochs: 2, ${optimisation}, value: { pretrainingSteps: 2 }, entropyCoefficient: 0.01, kl: { coefficient: 0.1, target: 0.5, horizon: 100 }, rewards: [{ name: process, weight: 1 }] }`,
  ],
  [
    'ppo of an adapter, against a reference that follows it',
    `- { type: ppo, steps: 10, promptsPerStep: 8, epochs: 2, ${optimisation}, adapter: { type: lora, rank: 4, alpha: 8 }, referenceSync: { every: 3, mixup: 0.5 }, entropyCoefficient: 0.01, rewards: [{ name: process, weight: 1 }] }`,
  ],
  [
    "ppo with a teacher's intrinsic reward and adapting weights",
    `- { type: ppo, steps: 10, promptsPerStep: 8, groupSize: 1, epochs: 1, truncated: bootstrap, ${optimisation}, rewards: [{ name: process, weight: 1 }], intrinsic: { teacher: ${teacher}, cache: { maxBytes: 20000 } }, adaptiveWeights: { rate: 0.1 } }`,
  ],
  [
    'ppo with a value model apart',
    `- { type: ppo, steps: 10, promptsPerStep: 8, epochs: 2, ${optimisation}, value: { model: start, pretrainingSteps: 1 }, referenceSync: { every: 2 }, rewards: [{ name: process, weight: 1 }] }`,
  ],
];

beforeAll(async () => harness.prepare(recipeWith(stages[0]![1])));
afterAll(() => harness[Symbol.dispose]());

describe.each([
  ['f32', 'a stop'],
  ['bf16', 'a kill'],
] as const)('in %s, after %s', (dtype, end) => {
  it.each(stages)('%s', { timeout: 60_000 }, async (name, stage) => {
    const rows = await expectExactResume(
      harness,
      `${name} ${dtype}`,
      recipeWith(stage, dtype),
      end,
      workWithSpread,
    );
    for (const row of rows) expect(row['advantage/abs_mean']).toBeGreaterThan(0);
  });
});
