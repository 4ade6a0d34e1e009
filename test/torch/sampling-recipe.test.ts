/** Sampling keys of a recipe, through a stage: drawn by them, corrected for them, resumed to the bit. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Decoder, loadModel, saveModel } from '../../src/models/index.ts';
import { loadTokenizer } from '../../src/text/index.ts';
import { cat, scope } from '../../src/torch/index.ts';
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

it('a penalty, a bias, a least length and a text that ends: kept by every rollout, corrected by importance weights', {
  timeout: 60_000,
}, async () => {
  const banned = 9;
  const steering = {
    repetitionPenalty: 1.3,
    logitBias: { [banned]: -100, 12: 1.5 },
    minCompletionTokens: 6,
    stop: ['4'],
  };
  const recipe = { ...plain, sampling: { ...plain.sampling, ...steering } };
  const rows = await expectExactResume(harness, 'steered', recipe, 'a stop', workWithSpread);
  for (const row of rows) {
    expect(row['policy/logp_mismatch_mean']).toBeLessThan(1e-5);
    expect(Number.isFinite(row['policy/importance_mean'])).toBe(true);
    // The ratio is that of the policy itself, and the weights say how it was steered.
    expect(row['policy/importance_max']).toBeGreaterThan(1.05);
  }
  const lines = readFileSync(join(harness.folder, 'steered whole/rollouts/train.jsonl'), 'utf8')
    .trim()
    .split('\n');
  const rollouts = lines.map(
    (line) => JSON.parse(line) as { completion: string; completionIds: number[]; stopReason: string },
  );
  for (const { completion, completionIds, stopReason } of rollouts) {
    expect(completionIds).not.toContain(banned);
    if (stopReason === 'eos') expect(completionIds.length).toBeGreaterThanOrEqual(6);
    // A character is a token, and before the least length none ends anything.
    const place = completion.indexOf('4', 6);
    if (place >= 0) expect([place, stopReason]).toEqual([completion.length - 1, 'stop']);
  }
  expect(new Set(rollouts.map(({ stopReason }) => stopReason)).has('stop')).toBe(true);
});

describe('an embedding with rows that stand for no token', () => {
  const folder = join(harness.folder, 'padded');
  let size: number;
  const step = 'promptsPerStep: 6, groupSize: 4, optimizerBatch: 12, microBatchTokens: 512, epochs: 2';
  const process = 'rewards: [{ name: process, weight: 1 }]';

  /** Every id has a double behind the tokenizer's, as likely as itself. */
  beforeAll(() => {
    const tokenizer = loadTokenizer(harness.start);
    size = tokenizer.size;
    using model = loadModel(harness.start, { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
    using padded = scope(() => {
      const state = new Map(
        [...model.namedParameters()].map(([name, value]) => [
          name,
          value.size(0) === size ? cat([value, value]) : value.clone(),
        ]),
      );
      return new Decoder({ ...model.config, vocabSize: 2 * size }, state, 'f32');
    });
    saveModel(padded, folder);
    tokenizer.save(folder);
  });

  const grpo = `type: grpo, steps: 2, ${step}, reference: start, ${process}`;
  const ppo = `type: ppo, steps: 2, ${step}, ${process}`;
  it.each([
    ['grpo', 'f32', `${grpo}, kl: { beta: 0.05 }`],
    ['grpo with KL in the reward', 'f32', `${grpo}, kl: { beta: 0.05, place: reward }`],
    ['grpo', 'bf16', `${grpo}, kl: { beta: 0.05 }`],
    ['ppo', 'f32', ppo],
    ['ppo', 'bf16', ppo],
  ] as const)('%s in %s: none is sampled, and no log-probability counts them', async (kind, dtype, keys) => {
    const name = `padded ${kind} ${dtype}`;
    expect(await harness.run(recipeWith(`- { ${keys} }`, dtype), name, undefined, folder)).toBe('done');
    const rollouts = readFileSync(join(harness.folder, name, 'rollouts/train.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { completionIds: number[] });
    expect(Math.max(...rollouts.flatMap(({ completionIds }) => completionIds))).toBeLessThan(size);
    const [first] = harness.metrics(name);
    // Log-probabilities over all rows would be ln 2 lower.
    expect(first!['policy/logp_mismatch_max']).toBeLessThan(dtype === 'f32' ? 1e-5 : 0.02);
    expect(Number(first!['policy/entropy'])).toBeLessThan(Math.log(size));
    if (kind === 'ppo') expect(first!['policy/kl']).toBe(0);
  });
});
