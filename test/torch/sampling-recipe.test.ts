/** Sampling keys of a recipe, through a stage: drawn by them, corrected for them, resumed to the bit. */

import { afterAll, beforeAll, expect, it } from 'vitest';
import { workWithSpread } from './spread-reward.ts';
import { expectExactResume, Harness, recipeWith } from './stage-harness.ts';

const plain = recipeWith(
  '- { type: grpo, steps: 10, promptsPerStep: 4, groupSize: 4, optimizerBatch: 8, microBatchTokens: 512, learningRate: 2.0e-3, rewards: [{ name: process, weight: 1 }] }',
);
const harness = new Harness();
beforeAll(async () => harness.prepare(plain));
afterAll(() => harness[Symbol.dispose]());

it('top-k, min-p and a chunk: exact in the trainer, importance weights for what was left out', {
  timeout: 60_000,
}, async () => {
  const recipe = { ...plain, sampling: { ...plain.sampling, topK: 8, minP: 0.02, prefillChunk: 4 } };
  const rows = await expectExactResume(harness, 'cut', recipe, 'a kill', workWithSpread);
  for (const row of rows) {
    expect(row['policy/logp_mismatch_mean']).toBeLessThan(1e-5);
    // What is left is likelier under the sampler than under the policy.
    expect(row['policy/importance_mean']).toBeLessThan(1);
    expect(row['policy/importance_mean']).toBeGreaterThan(0.5);
  }
});
