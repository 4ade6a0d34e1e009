/** Owns the proof that numbers by token in rollouts/train.jsonl stand at their own tokens, for every trainer that has them. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Decoder } from '../../src/models/index.ts';
import { encodePrompt } from '../../src/prompts/index.ts';
import { rolloutLineSchema } from '../../src/report/index.ts';
import { game24Task, type ScoredGroup } from '../../src/rewards/index.ts';
import { stageFunctions } from '../../src/run/stage-functions.ts';
import { loadTokenizer, type Tokenizer } from '../../src/text/index.ts';
import { ids, noGrad, scope, type Tensor } from '../../src/torch/index.ts';
import { rolloutLines } from '../../src/train/rollout-lines.ts';
import type { TrainContext } from '../../src/train/session.ts';
import { loadTeacher } from '../../src/train/teacher.ts';
import { Rng } from '../../src/util/rng.ts';
import { Harness, recipeWith, type StageWork } from './stage-harness.ts';

const harness = new Harness();
let tokenizer: Tokenizer;
let teacher: Decoder;
let student: Decoder;
let teacherFolder = '';

beforeAll(async () => {
  await harness.prepare(recipeWith('- type: report'));
  teacherFolder = join(harness.folder, 'base-0/checkpoints/step-000000');
  tokenizer = loadTokenizer(harness.start);
  const context = { compute: { device: 'cpu', dtype: 'f32' } } as TrainContext;
  teacher = loadTeacher(context, teacherFolder, tokenizer);
  student = loadTeacher(context, harness.start, tokenizer);
});
afterAll(() => {
  teacher[Symbol.dispose]();
  student[Symbol.dispose]();
  harness[Symbol.dispose]();
});

interface Line {
  readonly problemId: string;
  readonly promptIds: number[];
  readonly completionIds: number[];
  readonly tokenRewards: number[];
  readonly tokenRewardKind: string;
  readonly parts: Readonly<Record<string, number>>;
}

/** The rollouts of the first step, whose model is the one that the stage started from. */
async function firstRollouts(name: string, stage: string): Promise<Line[]> {
  const work: StageWork = (context) =>
    (stageFunctions[context.stage.type] as StageWork)({ ...context, modelFolder: () => teacherFolder });
  await harness.run(recipeWith(stage), name, undefined, undefined, work);
  const text = readFileSync(join(harness.folder, name, 'rollouts/train.jsonl'), 'utf8');
  const lines = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line & { step: number });
  for (const line of lines) expect(rolloutLineSchema.safeParse(line).success).toBe(true);
  const first = lines.filter(({ step }) => step === 1);
  for (const line of first) expect(line.promptIds).toEqual(promptOf(line.problemId));
  // Completions of several lengths in several micro-batches: else nothing could stand in a wrong place.
  expect(new Set(first.map((line) => line.completionIds.length)).size).toBeGreaterThan(3);
  return first;
}

/** Log-probabilities [T, V] before every completion token, of one sequence alone. */
function logpsBefore(model: Decoder, { promptIds, completionIds }: Line, temperature = 1): Tensor {
  const all = [...promptIds, ...completionIds];
  const hidden = model.forward(ids(Int32Array.from(all), [1, all.length])).select(0, 0);
  const states = hidden.narrow(0, promptIds.length - 1, completionIds.length);
  return states
    .linear(model.headWeight.narrow(0, 0, tokenizer.size))
    .div(temperature)
    .logSoftmax(-1);
}

/** `game24/3-4-4-6` is asked as its numbers in an order that follows from the seed and the step. */
function promptOf(problemId: string): number[] {
  const numbers = problemId
    .slice(problemId.indexOf('/') + 1)
    .split('-')
    .map(Number);
  const problem = { id: problemId, question: numbers.join(' '), reference: '24', meta: { numbers } };
  const rng = new Rng({ seed: 3, purpose: 'prompt', step: 1, id: problemId });
  return [...encodePrompt(tokenizer, game24Task(24).prompt(problem, rng))];
}

function close(found: readonly number[], expected: ArrayLike<number>, tolerance = 2e-4): void {
  expect(found).toHaveLength(expected.length);
  for (const [t, value] of found.entries())
    expect(Math.abs(value - expected[t]!)).toBeLessThan(tolerance * (1 + Math.abs(value)));
}

const asked = 'steps: 1, promptsPerStep: 6, groupSize: 2, microBatchTokens: 160, learningRate: 1.0e-3';
const intrinsic = (form: string) =>
  `{ teacher: prepare, form: ${form}, alpha: 1, gamma: 1, weight: 0.25, normaliser: { name: none, clip: null }, cache: null }`;

describe('numbers by token', () => {
  it('of distillation by log-ratios are those of the token itself', async () => {
    const stage = `- { type: distill, teacher: prepare, objective: log-ratio, onPolicyShare: 1, ${asked} }`;
    for (const line of await firstRollouts('log-ratio', stage)) {
      expect(line.tokenRewardKind).toBe('log-ratio');
      const expected = scope(() =>
        noGrad(() => {
          const chosen = (model: Decoder) =>
            logpsBefore(model, line).gather(-1, ids(Int32Array.from(line.completionIds)).unsqueeze(-1));
          return chosen(teacher).sub(chosen(student)).view([-1]).toFloat32();
        }),
      );
      close(line.tokenRewards, expected);
    }
  });

  it('of distillation by distributions are the divergence before the token', async () => {
    const stage = `- { type: distill, teacher: prepare, objective: divergence, beta: 1, onPolicyShare: 1, ${asked} }`;
    for (const line of await firstRollouts('divergence', stage)) {
      expect(line.tokenRewardKind).toBe('divergence');
      const expected = scope(() =>
        noGrad(() => {
          const [ours, theirs] = [logpsBefore(student, line), logpsBefore(teacher, line)];
          return ours.exp().mul(ours.sub(theirs)).sum(-1).toFloat32();
        }),
      );
      close(line.tokenRewards, expected);
    }
  });

  it.each([
    ['grpo', 'optimizerBatch: 12, kl: { beta: 0 }, rewards: [{ name: correct, weight: 1 }]'],
    ['ppo', 'optimizerBatch: 12, rewards: [{ name: correct, weight: 1 }]'],
  ])('of %s with a teacher are its weighted reward of the token', async (type, more) => {
    const stage = `- { type: ${type}, ${asked}, ${more}, intrinsic: ${intrinsic('logprob')} }`;
    for (const line of await firstRollouts(type, stage)) {
      expect(line.tokenRewardKind).toBe('reward');
      const expected = scope(() =>
        noGrad(() => {
          const index = ids(Int32Array.from(line.completionIds)).unsqueeze(-1);
          return logpsBefore(teacher, line).gather(-1, index).view([-1]).mul(0.25).toFloat32();
        }),
      );
      close(line.tokenRewards, expected);
      // The part of the sum that a group method learns from is that of these tokens.
      const sum = line.tokenRewards.reduce((total, value) => total + value, 0);
      if (type === 'grpo') expect(0.25 * line.parts['intrinsic']!).toBeCloseTo(sum, 2);
    }
  });

  it('of group methods with returns by token are the advantages', async () => {
    const stage = `- { type: grpo, preset: reinforce-pp, ${asked}, optimizerBatch: 12, reference: prepare, kl: { beta: 0.5, estimator: k1, place: tokens }, rewards: [{ name: format, weight: 1 }] }`;
    for (const line of await firstRollouts('tokens', stage)) {
      expect(line.tokenRewardKind).toBe('advantage');
      const kl = scope(() =>
        noGrad(() => {
          const index = ids(Int32Array.from(line.completionIds)).unsqueeze(-1);
          const chosen = (model: Decoder) => logpsBefore(model, line).gather(-1, index).view([-1]);
          return chosen(student).sub(chosen(teacher)).toFloat32();
        }),
      );
      // Whitening is one affine map for all tokens, and a return falls from token to token by the penalty between them.
      const falls = line.tokenRewards.slice(1).map((value, t) => value - line.tokenRewards[t]!);
      const scale =
        falls.reduce((sum, fall, t) => sum + fall * kl[t]!, 0) /
        kl.slice(0, -1).reduce((a, b) => a + b * b, 0);
      expect(scale).toBeGreaterThan(0);
      close(
        falls,
        [...kl.slice(0, -1)].map((value) => scale * value),
        1e-2,
      );
    }
  });

  it('that do not fit their rollouts are refused', () => {
    const group = {
      problem: { id: 'p' },
      scored: [
        {
          rollout: { problemId: 'p', completionIds: [4, 5, 6] },
          reward: 1,
          parts: {},
          judgement: {},
          formatOk: true,
        },
      ],
    } as unknown as ScoredGroup;
    const lines = (values: number[][]) => rolloutLines(1, [group], { tokens: { kind: 'reward', values } });
    expect(lines([[1, 2, 3]])[0]).toMatchObject({ tokenRewards: [1, 2, 3] });
    expect(() => lines([[1, 2]])).toThrow('expected numbers for 3 tokens of a rollout, found 2');
    expect(() => lines([])).toThrow('expected numbers for 1 rollouts, found 0');
  });
});
