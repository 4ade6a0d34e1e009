/** Owns the proof that expert iteration keeps what is correct, learns it, and resumes bit for bit. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { game24Task, type Task } from '../../src/rewards/index.ts';
import { type ExpertIterationOptions, trainExpertIteration } from '../../src/train/index.ts';
import { Harness, recipeWith, type StageWork } from './stage-harness.ts';

const recipe = recipeWith('- { type: expert-iteration, steps: 10 }');
const harness = new Harness();

/** The model here solves nothing, so this judge asks for less: a completion that begins with an even digit. */
const task: Task = {
  ...game24Task(24),
  judge: (_problem, completion) => {
    const correct = /^[2468]/.test(completion);
    const verdict = correct ? 'correct' : 'incorrect';
    return { judgement: { verdict, reason: verdict, extracted: completion.slice(0, 1) }, formatOk: correct };
  },
};

const options: ExpertIterationOptions = {
  steps: 10,
  promptsPerStep: 6,
  groupSize: 6,
  keepPerProblem: 2,
  shortestFirst: true,
  trainFrom: 'current',
  optimizerBatch: 4,
  microBatchTokens: 512,
  epochs: 2,
  maxGradNorm: 1,
  learningRate: 3e-3,
  schedule: 'constant',
  warmupSteps: 0,
  minLearningRateRatio: 1,
  weightDecay: 0,
  betas: [0.9, 0.95],
  epsilon: 1e-8,
  checkpoints: { every: 2, keepLast: 2 },
  sampling: { temperature: 1, topP: 1, maxCompletionTokens: 24 },
};

const work =
  (more: Partial<ExpertIterationOptions>): StageWork =>
  (context) =>
    trainExpertIteration(context, task, { ...options, ...more });

beforeAll(async () => harness.prepare(recipe));
afterAll(() => harness[Symbol.dispose]());

describe('expert iteration', () => {
  it.each(['current', 'base'] as const)(
    'from %s: ten steps are five, a stop, and five',
    async (trainFrom) => {
      const [whole, halves] = [`whole ${trainFrom}`, `halves ${trainFrom}`];
      const run = (name: string, stop?: number) =>
        harness.run(recipe, name, stop, undefined, work({ trainFrom }));
      expect(await run(whole)).toBe('done');
      expect(await run(halves, 5)).toBe('stopped');
      expect(await run(halves)).toBe('done');
      expect(harness.essence(halves)).toEqual(harness.essence(whole));
    },
  );

  it('learns what the judge asks for, from distinct correct completions, the shortest first', async () => {
    expect(await harness.run(recipe, 'longer', undefined, undefined, work({ steps: 20 }))).toBe('done');
    const rows = harness.metrics('longer');
    const accuracy = rows.map((row) => Number(row['accuracy/mean']));
    expect(accuracy.at(-1)).toBeGreaterThan(accuracy[0]! + 0.4);
    const kept = readFileSync(join(harness.folder, 'longer', 'rollouts', 'kept.jsonl'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { step: number; problemId: string; completion: string });
    const groupOf = (line: { step: number; problemId: string }) => `${line.step} ${line.problemId}`;
    for (const group of new Set(kept.map(groupOf))) {
      const lines = kept.filter((line) => groupOf(line) === group);
      expect(lines.length).toBeLessThanOrEqual(2);
      expect(new Set(lines.map((line) => line.completion)).size).toBe(lines.length);
      expect(lines.every((line) => /^[2468]/.test(line.completion))).toBe(true);
      expect(lines[0]!.completion.length).toBeLessThanOrEqual(lines.at(-1)!.completion.length);
    }
    expect(rows.map((row) => row['rollouts/kept'])).toEqual(
      rows.map((row) => kept.filter((line) => line.step === row['step']).length),
    );
  });
});
