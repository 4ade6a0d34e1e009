/** For every trainer: ten steps are, bit for bit, five steps, a stop, and five more from the checkpoint. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Harness, recipeWith } from './stage-harness.ts';

const optimisation = 'optimizerBatch: 8, microBatchTokens: 512, learningRate: 2.0e-3';

/** One stage of ten steps a row; what is special about it is in the line. */
const stages: readonly (readonly [name: string, stage: string])[] = [
  ['sft', `- { type: sft, steps: 10, ${optimisation} }`],
  [
    'grpo',
    `- { type: grpo, steps: 10, promptsPerStep: 4, groupSize: 4, ${optimisation}, epochs: 2, reference: start, kl: { beta: 0.05 }, rewards: [{ name: process, weight: 1 }] }`,
  ],
];

const harness = new Harness();

beforeAll(async () => harness.prepare(recipeWith(stages[0]![1])));
afterAll(() => harness[Symbol.dispose]());

describe.each(['f32', 'bf16'] as const)('in %s', (dtype) => {
  it.each(stages)('%s', { timeout: 60_000 }, async (name, stage) => {
    const recipe = recipeWith(stage, dtype);
    const [whole, halves] = [`${name} ${dtype} whole`, `${name} ${dtype} halves`];
    expect(await harness.run(recipe, whole)).toBe('done');
    expect(await harness.run(recipe, halves, 5)).toBe('stopped');
    expect(harness.metrics(halves).length).toBe(5);
    expect(await harness.run(recipe, halves)).toBe('done');
    expect(harness.essence(halves)).toEqual(harness.essence(whole));
    const moved = harness.metrics(whole).filter((row) => Number(row['grad_norm']) > 0);
    expect(moved.length).toBeGreaterThan(0);
  });
});
