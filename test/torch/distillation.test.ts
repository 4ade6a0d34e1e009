import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { backwardThroughDivergence, divergenceTerms } from '../../src/losses/index.ts';
import { saveModel } from '../../src/models/index.ts';
import { characterTokenizer } from '../../src/text/index.ts';
import { backward, ids, noGrad, op, scope, type Tensor } from '../../src/torch/index.ts';
import { accumulateDistillation } from '../../src/train/distill.ts';
import { cutMicroBatches } from '../../src/train/micro-batches.ts';
import type { TrainContext } from '../../src/train/session.ts';
import { loadTeacher, sharedVocabulary } from '../../src/train/teacher.ts';
import { Rng } from '../../src/util/rng.ts';
import { assertNoLeaks, largestDifference, takeGradients, tinyModel, tokenizer } from './tiny.ts';

assertNoLeaks();

const randn = op('aten::randn') as (shape: number[]) => Tensor;
const rng = new Rng({ seed: 11, purpose: 'test' });
const word = (length: number) => Array.from({ length }, () => 3 + Math.floor(rng.uniform() * 20));
const sequences = Array.from({ length: 7 }, (_, i) => ({
  promptIds: [1, ...word(2 + i)],
  completionIds: word(1 + ((i * 5) % 8)),
}));
const sampling = { temperature: 1.3, topP: 1, maxCompletionTokens: 8 };
const vocabulary = tokenizer.size;

describe('divergences', () => {
  it('are the KL at either end and the generalised JSD between, never negative and 0 for equals', () => {
    scope(() => {
      const [p, q] = [randn([5, 9]).logSoftmax(-1), randn([5, 9]).logSoftmax(-1)];
      const sum = (beta: number, a = p, b = q) => divergenceTerms(a, b, { beta }).sum(-1).toFloat64();
      const kl = (a: Tensor, b: Tensor) => a.exp().mul(a.sub(b)).sum(-1).toFloat64();
      expect(largestDifference(sum(0), kl(q, p))).toBeLessThan(1e-6);
      expect(largestDifference(sum(1), kl(p, q))).toBeLessThan(1e-6);
      const mixture = p.exp().mul(0.7).add(q.exp().mul(0.3)).log();
      const expected = kl(q, mixture).map((value, i) => 0.3 * value + 0.7 * kl(p, mixture)[i]!);
      expect(largestDifference(sum(0.3), expected)).toBeLessThan(1e-6);
      for (const beta of [0, 0.5, 1]) {
        expect(Math.min(...sum(beta))).toBeGreaterThan(0);
        expect(Math.max(...sum(beta, p, p).map(Math.abs))).toBeLessThan(1e-6);
      }
    });
  });

  it.each([
    [0, 1],
    [0.5, 1.7],
    [1, 0.8],
  ])('in chunks are those of the whole logits (beta %f, temperature %f)', (beta, temperature) => {
    scope(() => {
      const n = 300;
      const hidden = randn([n, 16]).requiresGrad_();
      const head = randn([40, 16]).requiresGrad_();
      const [teacherHidden, teacherHead] = [randn([n, 24]), randn([50, 24])];
      const weights = randn([n]);
      const take = () => {
        const gradients = [hidden.grad!.toFloat32(), head.grad!.toFloat32()];
        hidden.grad = null;
        head.grad = null;
        return gradients;
      };
      const logps = (states: Tensor, matrix: Tensor) =>
        states
          .linear(matrix.narrow(0, 0, 36))
          .div(temperature)
          .logSoftmax(-1);
      const plain = divergenceTerms(logps(hidden, head), logps(teacherHidden, teacherHead), { beta });
      const loss = plain.sum(-1).mul(weights).sum();
      backward(loss);
      const expected = take();
      for (const chunkTokens of [n, 64, 7]) {
        const sums = backwardThroughDivergence(
          { hidden_ND: hidden.mul(1), head_VD: head },
          { hidden_ND: teacherHidden, head_VD: teacherHead },
          weights,
          { beta, temperature, vocabulary: 36, chunkTokens },
        );
        expect(Math.abs(sums.loss - loss.item())).toBeLessThan(1e-3);
        take().forEach((gradient, i) => {
          const size = Math.max(...expected[i]!.map(Math.abs));
          expect(largestDifference(gradient, expected[i]!)).toBeLessThan(1e-5 * size);
        });
      }
    });
  });
});

describe('distillation', () => {
  const base = { beta: 0.4, softening: 1.2, sampling, vocabulary };

  it.each(['divergence', 'log-ratio', 'sequence'] as const)(
    'by %s does not depend on the cut into micro-batches',
    (objective) => {
      using policy = tinyModel();
      using other = tinyModel({ hiddenSize: 48, heads: 6 }, 'f32', 2);
      using teacher = other.snapshot();
      const lossOf = (budget: number) =>
        accumulateDistillation(policy, teacher, cutMicroBatches(sequences, budget, 0), {
          ...base,
          objective,
        });
      const whole = lossOf(10_000);
      const expected = takeGradients(policy);
      const size = Math.max(...[...expected.values()].flatMap((values) => [...values].map(Math.abs)));
      expect(size).toBeGreaterThan(1e-3);
      for (const budget of [1, 30, 60]) {
        const cut = lossOf(budget);
        expect(Math.abs(cut.loss / whole.loss - 1)).toBeLessThan(1e-5);
        expect(Math.abs(cut.entropy / whole.entropy - 1)).toBeLessThan(1e-5);
        for (const [name, gradient] of takeGradients(policy))
          expect(largestDifference(gradient, expected.get(name)!)).toBeLessThan(1e-5 * Math.max(1, size));
      }
    },
  );

  it('from a teacher equal to the student is over at once', () => {
    using policy = tinyModel();
    using teacher = policy.snapshot();
    const batches = cutMicroBatches(sequences, 60, 0);
    for (const objective of ['divergence', 'log-ratio'] as const) {
      const { loss } = accumulateDistillation(policy, teacher, batches, { ...base, objective });
      expect(Math.abs(loss)).toBeLessThan(1e-6);
      for (const gradient of takeGradients(policy).values())
        expect(Math.max(...gradient.map(Math.abs))).toBeLessThan(1e-5);
    }
  });

  it.each([
    ['its own tokens', 1],
    ['tokens of another sampler', 0.6],
  ])('by log-ratios has the gradient of the reverse KL as its expectation over %s', (_, own) => {
    using policy = tinyModel();
    using other = tinyModel({}, 'f32', 2);
    using teacher = other.snapshot();
    const promptIds = [1, 5, 9];
    const logpsOf = (model: typeof policy) =>
      model
        .logits(model.forward(ids(promptIds, [1, promptIds.length])).select(1, promptIds.length - 1))
        .logSoftmax(-1)
        .view([-1]);
    const p = noGrad(() => scope(() => logpsOf(policy).exp().toFloat32()));
    scope(() => {
      const theirs = noGrad(() => logpsOf(teacher));
      backward(divergenceTerms(logpsOf(policy), theirs, { beta: 1 }).sum());
    });
    const exact = takeGradients(policy);
    // Never half as likely as to the policy itself, so that no weight is truncated.
    const sampler = p.map((probability) => own * probability + (1 - own) / vocabulary);
    const options = { ...base, sampling: { ...sampling, temperature: 1 } };
    const expectation = new Map<string, Float64Array>();
    for (let token = 0; token < vocabulary; token++) {
      const batches = cutMicroBatches([{ promptIds, completionIds: [token] }], 10, 0);
      const samplingLogps = own < 1 ? [Float32Array.of(Math.log(sampler[token]!))] : null;
      accumulateDistillation(policy, teacher, batches, { ...options, objective: 'log-ratio', samplingLogps });
      for (const [name, gradient] of takeGradients(policy)) {
        const sum = expectation.get(name) ?? new Float64Array(gradient.length);
        gradient.forEach((value, i) => {
          sum[i]! += sampler[token]! * value;
        });
        expectation.set(name, sum);
      }
    }
    for (const [name, gradient] of exact)
      expect(largestDifference(gradient, expectation.get(name)!)).toBeLessThan(1e-5);
  });

  it('refuses a teacher that reads other tokens', () => {
    const folder = mkdtempSync(join(tmpdir(), 'reckon-teacher-'));
    try {
      using model = tinyModel();
      saveModel(model, folder);
      const context = { compute: { device: 'cpu', dtype: 'f32' } } as TrainContext;
      tokenizer.save(folder);
      using teacher = loadTeacher(context, folder, tokenizer);
      expect(teacher.headWeight.requiresGrad).toBe(false);
      characterTokenizer([...'0123456789+-*/()=# \nx:']).save(folder);
      expect(() => loadTeacher(context, folder, tokenizer)).toThrow(
        'id 23 is "x" to the teacher and ":" to the student',
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('compares models whose vocabularies are padded to other sizes', () => {
    using policy = tinyModel();
    using padded = tinyModel({ vocabSize: tokenizer.size + 40 });
    expect(sharedVocabulary(policy, policy, tokenizer)).toBe(tokenizer.size);
    expect(sharedVocabulary(policy, padded, tokenizer)).toBe(tokenizer.size);
    expect(sharedVocabulary(padded, padded, tokenizer)).toBe(tokenizer.size + 40);
  });
});
