/** Owns the proof that PPO learns: from a rule, from a teacher alone, and its value head before its policy. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { game24Task, type Reward } from '../../src/rewards/index.ts';
import { readMetrics } from '../../src/track/index.ts';
import { type PpoOptions, trainPpo } from '../../src/train/index.ts';
import { mean } from '../../src/util/statistics.ts';
import { Harness, recipeWith, type StageWork } from './stage-harness.ts';

const recipe = recipeWith('- { type: ppo, steps: 24 }');
const harness = new Harness();

/** The model here solves nothing, so this rule asks for less: a completion that begins with an even digit. */
const even: Reward = {
  name: 'correct',
  weight: 1,
  score: ({ rollout }) => Number(/^[2468]/.test(rollout.text)),
};

const options: PpoOptions = {
  steps: 24,
  promptsPerStep: 16,
  groupSize: 1,
  optimizerBatch: 8,
  microBatchTokens: 512,
  epochs: 2,
  maxGradNorm: 1,
  gamma: 1,
  lambda: 0.95,
  whitenAdvantages: true,
  truncated: 'ends',
  clip: { low: 0.2, high: 0.2 },
  valueClip: null,
  valueCoefficient: 0.1,
  valueRateRatio: 1,
  valuePretrainingSteps: 4,
  entropyCoefficient: 0,
  reference: 'start',
  klEstimator: 'k1',
  klControl: { coefficient: 0.01, target: null, horizon: 1000 },
  intrinsic: null,
  adaptiveWeights: null,
  rewards: [even],
  learningRate: 2e-3,
  schedule: 'constant',
  warmupSteps: 0,
  minLearningRateRatio: 1,
  weightDecay: 0,
  betas: [0.9, 0.95],
  epsilon: 1e-8,
  checkpoints: { every: 4, keepLast: 10 },
  sampling: { temperature: 1, topP: 1, maxCompletionTokens: 12 },
};

const work =
  (more: Partial<PpoOptions>): StageWork =>
  (context) =>
    trainPpo(context, game24Task(24), { ...options, ...more });

const checkpoint = (name: string, step: number) =>
  join(harness.folder, name, 'checkpoints', `step-${String(step).padStart(6, '0')}`);

beforeAll(async () => harness.prepare(recipe));
afterAll(() => harness[Symbol.dispose]());

describe('PPO', () => {
  it('learns what a rule asks for, the value head first', { timeout: 60_000 }, async () => {
    await harness.run(recipe, 'rule', undefined, undefined, work({ steps: 40 }));
    const rows = harness.metrics('rule');
    const of = (name: string, from: number, to: number) =>
      mean(rows.slice(from, to).map((row) => Number(row[name])));
    expect(of('reward/mean', 34, 40)).toBeGreaterThan(of('reward/mean', 0, 5) + 0.4);
    expect(rows[0]!['value/mean']).toBe(0);
    // The values learn the reward of the start, and follow it as it rises.
    expect(Math.abs(of('value/mean', 3, 10) - of('reward/mean', 0, 10))).toBeLessThan(0.1);
    expect(of('value/mean', 34, 40)).toBeGreaterThan(of('value/mean', 3, 10) + 0.3);
    // Until the policy moves it is the reference.
    for (const row of rows.slice(0, 5)) expect(Math.abs(Number(row['policy/kl']))).toBe(0);
    expect(rows.slice(0, 4).every((row) => row['policy/ratio_mean'] === undefined)).toBe(true);
    expect(rows[5]!['policy/kl']).not.toBe(0);
    const weights = (folder: string) => readFileSync(join(folder, 'model.safetensors'));
    expect(weights(checkpoint('rule', 4)).equals(weights(harness.start))).toBe(true);
    expect(weights(checkpoint('rule', 8)).equals(weights(harness.start))).toBe(false);
    expect(existsSync(join(checkpoint('rule', 8), 'trainer', 'value-head.safetensors'))).toBe(true);
  });

  it('steers no KL penalty while the policy stands still, and counts the tokens of all updates', async () => {
    const klControl = { coefficient: 0.1, target: 0.5, horizon: 20 };
    await harness.run(recipe, 'steered', undefined, undefined, work({ steps: 6, klControl }));
    const rows = readMetrics(join(harness.folder, 'steered', 'metrics.jsonl'));
    expect(rows.map((row) => row['policy/kl_coefficient'] === 0.1)).toEqual([
      true,
      true,
      true,
      true,
      true,
      false,
    ]);
    for (const row of rows)
      expect(row['perf/tokens_per_s']! * row['time/step_s']!).toBeCloseTo(row['batch/tokens']!, 3);
  });

  it('learns from a teacher alone, and leaves its weights where they can be read', {
    timeout: 60_000,
  }, async () => {
    const untrained = join(harness.folder, 'base-0', 'checkpoints', 'step-000000');
    const intrinsic = {
      teacher: harness.start,
      form: 'logprob',
      alpha: 1,
      gamma: 1,
      weight: 0.1,
      normaliser: { name: 'none', clip: null },
      cache: null,
      truncated: 'bootstrap',
    } as const;
    const alone = work({
      rewards: [{ ...even, weight: 0 }],
      reference: 'none',
      intrinsic,
      valuePretrainingSteps: 0,
      adaptiveWeights: { rate: 0.1, least: 0, most: 1 },
    });
    await harness.run(recipe, 'teacher', undefined, untrained, alone);
    // What it maximises is the sum over a completion, so it also learns to end early.
    const sums = harness
      .metrics('teacher')
      .map((row) => Number(row['intrinsic/reward_mean']) * Number(row['completion/length_mean']));
    expect(mean(sums.slice(18))).toBeGreaterThan(mean(sums.slice(0, 3)) / 2);
    const file = join(checkpoint('teacher', 24), 'adaptive_weights_step_24.json');
    const { step, weights } = JSON.parse(readFileSync(file, 'utf8')) as {
      step: number;
      weights: { correct: number; intrinsic: number };
    };
    expect(step).toBe(24);
    expect(Object.keys(weights)).toEqual(['correct', 'intrinsic']);
    expect(weights.correct + weights.intrinsic).toBeCloseTo(0.1, 9);
    // Reports shade every token by what it earned.
    const rollouts = readFileSync(join(harness.folder, 'teacher', 'rollouts', 'train.jsonl'), 'utf8');
    for (const text of rollouts.trim().split('\n')) {
      const line = JSON.parse(text) as { completionIds: number[]; tokenRewards: number[] };
      expect(line.tokenRewards).toHaveLength(line.completionIds.length);
      expect(line.tokenRewards.every(Number.isFinite)).toBe(true);
    }
  });
});
