/**
 * Exact resume of GRPO's family: ten steps are, bit for bit, five steps, a stop, and five more from the checkpoint; and also
 * where the process was killed, so that files know of a step which no checkpoint has.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Reward } from '../../src/rewards/index.ts';
import { grpoOptions } from '../../src/run/stages/grpo.ts';
import { taskOf } from '../../src/run/stages/task.ts';
import type { RunStageContext } from '../../src/run/stages.ts';
import { trainGrpo } from '../../src/train/index.ts';
import { mean } from '../../src/util/statistics.ts';
import { spread, workWithSpread } from './spread-reward.ts';
import { expectExactResume, Harness, recipeWith, type StageWork } from './stage-harness.ts';

const optimisation = 'optimizerBatch: 8, microBatchTokens: 512, learningRate: 2.0e-3';

const harness = new Harness();
/** The model before fine-tuning: a teacher that differs from the student everywhere. */
const teacher = join(harness.folder, 'base-0', 'checkpoints', 'step-000000');

/** One stage of ten steps a row; what is special about it is in the line. */
const stages: readonly (readonly [name: string, stage: string])[] = [
  [
    'grpo with a running mean, KL in the reward and a falling temperature',
    `- { type: grpo, steps: 10, promptsPerStep: 4, groupSize: 4, ${optimisation}, reference: start, kl: { beta: 0.05, estimator: k1, place: reward }, advantages: { maxMomentum: 0.9 }, temperatureEnd: 0.7, rewards: [{ name: process, weight: 1 }] }`,
  ],
  [
    'dapo with dynamic sampling',
    `- { type: grpo, preset: dapo, steps: 10, promptsPerStep: 6, groupSize: 3, maxDraws: 3, optimizerBatch: 9, microBatchTokens: 512, learningRate: 2.0e-3, rewards: [{ name: process, weight: 1 }] }`,
  ],
  [
    'grpo',
    `- { type: grpo, steps: 10, promptsPerStep: 4, groupSize: 4, ${optimisation}, epochs: 2, reference: start, kl: { beta: 0.05 }, rewards: [{ name: process, weight: 1 }] }`,
  ],
  [
    'grpo of an intrinsic reward, summed, with adapting weights and a synced reference',
    `- { type: grpo, steps: 10, promptsPerStep: 4, groupSize: 4, ${optimisation}, reference: start, referenceSync: { every: 3, mixup: 0.6 }, kl: { beta: 0.05 }, rewards: [{ name: process, weight: 1 }], intrinsic: { teacher: ${teacher}, truncated: mask, cache: { maxBytes: 20000, eviction: lfu } }, adaptiveWeights: { rate: 0.1 } }`,
  ],
  [
    'grpo with replay, against another model, the entropy steered',
    `- { type: grpo, steps: 10, promptsPerStep: 4, groupSize: 4, optimizerBatch: 12, epochs: 2, microBatchTokens: 512, learningRate: 2.0e-3, reference: ${teacher}, kl: { beta: 0.01 }, replay: { capacity: 6, groupsPerStep: 2, maxAge: 3 }, importance: { level: sequence, beyond: mask, max: 3 }, entropyCoefficient: 0.05, adaptiveEntropy: { target: 1, delta: 0.005 }, rewards: [{ name: process, weight: 1 }] }`,
  ],
  [
    'reinforce++ of single completions, always weighted',
    `- { type: grpo, preset: reinforce-pp, steps: 10, promptsPerStep: 8, groupSize: 1, ${optimisation}, importance: { always: true }, rewards: [{ name: process, weight: 1 }] }`,
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
    if (name.includes('replay')) expect(rows.at(-1)?.['rollouts/replayed']).toBe(8);
    if (name.includes('entropy')) {
      const weights = rows.map((row) => Number(row['policy/entropy_coefficient']));
      // Entropy is above the target, so the weight falls with each of the four updates of a step, down to 0.
      expect(weights[0]).toBeCloseTo(0.05 - 4 * 0.005, 9);
      expect(weights.at(-1)).toBe(0);
    }
    if (name.includes('running mean')) {
      const folder = join(harness.folder, `${name} ${dtype} whole`, 'checkpoints', 'step-000010');
      const { extra } = JSON.parse(readFileSync(join(folder, 'trainer', 'state.json'), 'utf8'));
      // A tenth a group up to the bound: it is only reached where one step begins with what the last one left.
      expect(extra.running.momentum).toBe(0.9);
    }
    if (name.startsWith('reinforce++')) {
      const file = join(harness.folder, `${name} ${dtype} whole`, 'rollouts', 'train.jsonl');
      const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
      const last = lines.map((line) => JSON.parse(line)).filter((row) => row.step === 10);
      const sizes = last.flatMap((row) => row.tokenRewards.map(Math.abs));
      // What the loss reads is whitened by token; the numbers of whole completions are not.
      expect(rows.at(-1)?.['advantage/abs_mean']).toBeCloseTo(mean(sizes), 4);
    }
    if (name.includes('adapting weights'))
      expect(Object.keys(harness.essence(`${name} ${dtype} whole`))).toContain(
        'checkpoints/step-000010/adaptive_weights_step_10.json',
      );
  });
});

it('a stop asked for while problems are drawn changes nothing of the step', { timeout: 60_000 }, async () => {
  const stage = `- { type: grpo, preset: dapo, steps: 6, promptsPerStep: 4, groupSize: 2, maxDraws: 4, ${optimisation}, rewards: [{ name: process, weight: 1 }] }`;
  const recipe = recipeWith(stage);
  let asked = false;
  const interrupted = 'stopped while drawing';
  // Half of the groups have no spread, so every step draws several times.
  const coarse: Reward = {
    ...spread,
    score: ({ rollout }) => {
      if (harness.metrics(interrupted).length === 3) asked = true;
      return Number(rollout.completionIds.length > 20);
    },
  };
  const work: StageWork = (context) =>
    trainGrpo({ ...context, stopRequested: () => asked }, taskOf(context.recipe), {
      ...grpoOptions(context as RunStageContext<'grpo'>),
      rewards: [coarse],
    });
  expect(await harness.run(recipe, 'not stopped', undefined, undefined, work)).toBe('done');
  expect(await harness.run(recipe, interrupted, undefined, undefined, work)).toBe('stopped');
  expect(harness.metrics(interrupted).length).toBe(4);
  const draws = harness.metrics('not stopped').map((row) => Number(row['rollouts/draws']));
  expect(draws[3]).toBeGreaterThan(1);
  const rest: StageWork = (context) =>
    trainGrpo(context, taskOf(context.recipe), {
      ...grpoOptions(context as RunStageContext<'grpo'>),
      rewards: [coarse],
    });
  expect(await harness.run(recipe, interrupted, undefined, undefined, rest)).toBe('done');
  expect(harness.essence(interrupted)).toEqual(harness.essence('not stopped'));
});
