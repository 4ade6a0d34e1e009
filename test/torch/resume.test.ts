/**
 * For every trainer: ten steps are, bit for bit, five steps, a stop, and five more from the checkpoint; and also where the
 * process was killed, so that files know of a step which no checkpoint has.
 */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Harness, recipeWith } from './stage-harness.ts';

const optimisation = 'optimizerBatch: 8, microBatchTokens: 512, learningRate: 2.0e-3';

const harness = new Harness();
/** The model before fine-tuning: a teacher that differs from the student everywhere. */
const teacher = join(harness.folder, 'base-0', 'checkpoints', 'step-000000');

/** One stage of ten steps a row; what is special about it is in the line. */
const stages: readonly (readonly [name: string, stage: string])[] = [
  ['sft', `- { type: sft, steps: 10, ${optimisation} }`],
  ['sft on packed rows', `- { type: sft, packing: true, learn: all, steps: 10, ${optimisation} }`],
  [
    'dpo',
    `- { type: dpo, steps: 10, promptsPerStep: 8, groupSize: 4, compare: first-error, ${optimisation} }`,
  ],
  [
    'kto against the step before',
    `- { type: dpo, objective: kto, reference: previous, steps: 10, promptsPerStep: 4, groupSize: 4, compare: first-error, ${optimisation} }`,
  ],
  ...['divergence', 'log-ratio', 'sequence'].map(
    (objective) =>
      [
        `distill by ${objective}`,
        `- { type: distill, objective: ${objective}, teacher: ${teacher}, steps: 10, promptsPerStep: 4, groupSize: 2, microBatchTokens: 512, learningRate: 2.0e-3 }`,
      ] as const,
  ),
  [
    'grpo with a running mean, KL in the reward and a falling temperature',
    `- { type: grpo, steps: 10, promptsPerStep: 4, groupSize: 4, ${optimisation}, reference: start, kl: { beta: 0.05, estimator: k1, place: reward }, advantages: { maxMomentum: 0.9 }, temperatureEnd: 0.7, rewards: [{ name: process, weight: 1 }] }`,
  ],
  [
    'dapo with dynamic sampling',
    `- { type: grpo, preset: dapo, steps: 10, promptsPerStep: 6, groupSize: 3, maxDraws: 3, optimizerBatch: 9, microBatchTokens: 512, learningRate: 2.0e-3, rewards: [{ name: process, weight: 1 }] }`,
  ],
  [
    'ppo with value pre-training, minibatches and a steered KL',
    `- { type: ppo, steps: 10, promptsPerStep: 8, groupSize: 2, epochs: 2, ${optimisation}, value: { pretrainingSteps: 2 }, entropyCoefficient: 0.01, kl: { coefficient: 0.1, target: 0.5, horizon: 100 }, rewards: [{ name: process, weight: 1 }] }`,
  ],
  [
    'ppo of an adapter',
    `- { type: ppo, steps: 10, promptsPerStep: 8, epochs: 2, ${optimisation}, adapter: { type: lora, rank: 4, alpha: 8 }, entropyCoefficient: 0.01, rewards: [{ name: process, weight: 1 }] }`,
  ],
  [
    "ppo with a teacher's intrinsic reward and adapting weights",
    `- { type: ppo, steps: 10, promptsPerStep: 8, groupSize: 1, epochs: 1, truncated: bootstrap, ${optimisation}, rewards: [{ name: process, weight: 1 }], intrinsic: { teacher: ${teacher}, cache: { maxBytes: 20000 } }, adaptiveWeights: { rate: 0.1 } }`,
  ],
  [
    'grpo',
    `- { type: grpo, steps: 10, promptsPerStep: 4, groupSize: 4, ${optimisation}, epochs: 2, reference: start, kl: { beta: 0.05 }, rewards: [{ name: process, weight: 1 }] }`,
  ],
];

beforeAll(async () => harness.prepare(recipeWith(stages[0]![1])));
afterAll(() => harness[Symbol.dispose]());

describe.each([
  ['f32', 'a stop'],
  ['bf16', 'a kill'],
] as const)('in %s, after %s', (dtype, end) => {
  it.each(stages)('%s', { timeout: 60_000 }, async (name, stage) => {
    const recipe = recipeWith(stage, dtype);
    const [whole, halves] = [`${name} ${dtype} whole`, `${name} ${dtype} halves`];
    expect(await harness.run(recipe, whole)).toBe('done');
    expect(await harness.run(recipe, halves, 5)).toBe('stopped');
    expect(harness.metrics(halves).length).toBe(5);
    if (end === 'a kill')
      rmSync(join(harness.folder, halves, 'checkpoints', 'step-000005'), { recursive: true });
    expect(await harness.run(recipe, halves)).toBe('done');
    expect(harness.essence(halves)).toEqual(harness.essence(whole));
    const moved = harness.metrics(whole).filter((row) => Number(row['grad_norm']) > 0);
    expect(moved.length).toBeGreaterThan(0);
  });
});
