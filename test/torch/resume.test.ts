/**
 * Exact resume of supervised learning and distillation: ten steps are, bit for bit, five steps, a stop, and five more from the checkpoint; and also
 * where the process was killed, so that files know of a step which no checkpoint has.
 */

import { join } from 'node:path';
import { afterAll, beforeAll, describe, it } from 'vitest';
import { expectExactResume, Harness, recipeWith } from './stage-harness.ts';

const optimisation = 'optimizerBatch: 8, microBatchTokens: 512, learningRate: 2.0e-3';

const harness = new Harness();
/** The model before fine-tuning: a teacher that differs from the student everywhere. */
const teacher = join(harness.folder, 'base-0', 'checkpoints', 'step-000000');

/** One stage of ten steps a row; what is special about it is in the line. */
const stages: readonly (readonly [name: string, stage: string])[] = [
  ['sft', `- { type: sft, steps: 10, ${optimisation} }`],
  ['sft on packed rows', `- { type: sft, packing: true, learn: all, steps: 10, ${optimisation} }`],
  ...['divergence', 'log-ratio', 'sequence'].map(
    (objective) =>
      [
        `distill by ${objective}`,
        `- { type: distill, objective: ${objective}, teacher: ${teacher}, steps: 10, promptsPerStep: 4, groupSize: 2, microBatchTokens: 512, learningRate: 2.0e-3 }`,
      ] as const,
  ),
];

beforeAll(async () => harness.prepare(recipeWith(stages[0]![1])));
afterAll(() => harness[Symbol.dispose]());

describe.each([
  ['f32', 'a stop'],
  ['bf16', 'a kill'],
] as const)('in %s, after %s', (dtype, end) => {
  it.each(stages)('%s', { timeout: 60_000 }, async (name, stage) => {
    await expectExactResume(harness, `${name} ${dtype}`, recipeWith(stage, dtype), end);
  });
});
