/**
 * The 26 cases of Stanford CS336's assignment 5 that need neither a model nor a tokenizer. Inputs come from libtorch's own
 * generator by the seeds of the assignment's fixtures; expected values from the formulas in float64.
 */

import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { groupAdvantages } from '../../src/advantages/index.ts';
import { lastNumber } from '../../src/evaluate/answers.ts';
import { choiceLetter } from '../../src/evaluate/choice-letter.ts';
import {
  lossWeights,
  maskedMean,
  maskedNormalize,
  type PolicyGradientOptions,
  policyGradientLoss,
  supervisedLoss,
  termsOfLogits,
} from '../../src/losses/index.ts';
import { policyPerToken } from '../../src/losses/policy-objectives.ts';
import { backward, fromBytes, ids, manualSeed, op, scope, type Tensor } from '../../src/torch/index.ts';
import { assertNoLeaks, largestDifference } from './tiny.ts';

assertNoLeaks();

const [B, T, V] = [2, 10, 100];
const accumulation = 2;
const tolerance = 1e-5;

/** A fixture: the seed is set anew before each. */
function drawn(kind: 'randn' | 'rand', shape: number[]): Float64Array {
  return scope(() => {
    manualSeed(42);
    return (op(`aten::${kind}`) as (shape: number[]) => Tensor)(shape).toFloat64();
  });
}
const tensorOf = (values: ArrayLike<number>, shape: number[]) =>
  fromBytes(Float32Array.from(values), 'f32', shape);

const logits = drawn('randn', [B, T, V]);
const logps = drawn('randn', [B, T]);
/** The policy's plus noise of the same seed, so twice the policy's. */
const oldLogps = logps.map((value) => 2 * value);
const rawRewards = drawn('rand', [B, 1]);
const meanReward = (rawRewards[0]! + rawRewards[1]!) / 2;
const advantages = rawRewards.map((reward) => reward - meanReward);
const mask = drawn('rand', [B, T, V]).map((value) => Number(value > 0.5));
const responseMask = drawn('rand', [B, T]).map((value) => Number(value > 0.5));

/** One number a sequence as one a token. */
const perToken = (values: ArrayLike<number>) =>
  Float64Array.from(logps, (_, i) => values[Math.floor(i / T)]!);

it('the fixtures are those of the assignment', () => {
  expect(logits[0]).toBeCloseTo(1.92692, 5);
  const kept = Array.from({ length: T * V }, (_, i) => mask[i]! + mask[T * V + i]!);
  expect(kept.filter((count) => count === 0).length).toBe(260);
});

describe('compute_group_normalized_rewards', () => {
  const rewards = Array.from({ length: 8 }, (_, i) => {
    const digest = createHash('sha256').update(`hmm I think ths answer is ${i}`).digest('hex');
    return Number(BigInt(`0x${digest}`) % 10n) / 10;
  });

  it.each([
    ['normalize_by_std', 'group'],
    ['no_normalize_by_std', 'none'],
  ] as const)('%s', (_, scale) => {
    const groups = [rewards.slice(0, 4), rewards.slice(4)];
    const wanted = groups.flatMap((group) => {
      const mean = group.reduce((sum, x) => sum + x, 0) / 4;
      const std = Math.sqrt(group.reduce((sum, x) => sum + (x - mean) ** 2, 0) / 3);
      return group.map((x) => (x - mean) / (scale === 'group' ? std + 1e-6 : 1));
    });
    const got = groupAdvantages(groups, { scale, epsilon: 1e-6 });
    expect(largestDifference(got.advantages.flat(), wanted)).toBeLessThan(tolerance);
    expect(Math.max(...wanted)).toBeGreaterThan(0.1);
  });
});

/** The policy term of every token. */
function lossOfTokens(values: ArrayLike<number>, options: Partial<PolicyGradientOptions>): Float32Array {
  return scope(() => {
    const flat = (from: ArrayLike<number>) => tensorOf(from, [B * T]);
    const inputs = {
      logps_N: flat(logps),
      oldLogps_N: flat(oldLogps),
      referenceLogps_N: null,
      advantages_N: flat(perToken(values)),
      weights_N: flat(new Array(B * T).fill(1)),
    };
    const ratio_N = inputs.logps_N.sub(inputs.oldLogps_N).exp();
    const given = { clip: { low: 0, high: 0 }, kl: { beta: 0, estimator: 'k3' } as const, ...options };
    return policyPerToken(inputs, ratio_N, given).loss_N.toFloat32();
  });
}

const naive = (values: ArrayLike<number>) => perToken(values).map((value, i) => -value * logps[i]!);
const clipped = (range: number) =>
  perToken(advantages).map((advantage, i) => {
    const ratio = Math.exp(logps[i]! - oldLogps[i]!);
    const bounded = Math.min(1 + range, Math.max(1 - range, ratio));
    return -Math.min(ratio * advantage, bounded * advantage);
  });

describe('losses of the policy', () => {
  const reinforce = { objective: { name: 'reinforce' } } as const;
  const clip = (range: number) => ({ clip: { low: range, high: range } });

  it.each([
    ['compute_naive_policy_gradient_loss', rawRewards, reinforce, naive(rawRewards), -1.700058],
    ['compute_grpo_clip_loss, large', advantages, clip(10), clipped(10), null],
    ['compute_grpo_clip_loss, small', advantages, clip(0.1), clipped(0.1), 0.014731],
    ['compute_policy_gradient_loss, no_baseline', rawRewards, reinforce, naive(rawRewards), null],
    ['compute_policy_gradient_loss, reinforce_with_baseline', advantages, reinforce, naive(advantages), null],
    ['compute_policy_gradient_loss, grpo_clip', advantages, clip(0.5), clipped(0.5), null],
  ] as const)('%s', (_, values, options, wanted, first) => {
    const got = lossOfTokens(values, options);
    expect(largestDifference(got, wanted)).toBeLessThan(tolerance);
    if (first !== null) expect(got[0]).toBeCloseTo(first, 5);
  });
});

/** Sums of the kept values and their counts along a dimension of [B, T, V], or of all. */
function kept(dim: number | null): { readonly sums: number[]; readonly counts: number[] } {
  const shape = [B, T, V];
  const size = dim === null ? 1 : shape.reduce((product, n, d) => (d === dim ? product : product * n), 1);
  const sums = new Array<number>(size).fill(0);
  const counts = new Array<number>(size).fill(0);
  logits.forEach((value, i) => {
    const place = [Math.floor(i / (T * V)), Math.floor(i / V) % T, i % V];
    const rest = dim === null ? [] : place.filter((_, d) => d !== dim);
    const sizes = dim === null ? [] : shape.filter((_, d) => d !== dim);
    const at = rest.reduce((flat, one, d) => flat * sizes[d]! + one, 0);
    sums[at]! += value * mask[i]!;
    counts[at]! += mask[i]!;
  });
  return { sums, counts };
}

const dims = [
  ['dim0', 0, 0],
  ['dim1', 1, 1],
  ['dimlast', -1, 2],
  ['dimNone', null, null],
] as const;

describe.each(dims)('%s', (_, dim, axis) => {
  const { sums, counts } = kept(axis);
  const inScope = (work: (values: Tensor, mask: Tensor) => Tensor) =>
    scope(() => work(tensorOf(logits, [B, T, V]), tensorOf(mask, [B, T, V]).gt(0.5)).toFloat32());

  it('masked_mean, NaN where the mask is empty', () => {
    const got = inScope((values, mask) => maskedMean(values, mask, dim));
    expect(got.length).toBe(sums.length);
    const empty = counts.map((count) => count === 0);
    expect([...got].map(Number.isNaN)).toEqual(empty);
    expect(empty.filter(Boolean).length).toBe(dim === 0 ? 260 : 0);
    const known = [...got.keys()].filter((i) => !empty[i]);
    const wanted = known.map((i) => sums[i]! / counts[i]!);
    expect(
      largestDifference(
        known.map((i) => got[i]!),
        wanted,
      ),
    ).toBeLessThan(tolerance);
  });

  it('masked_normalize', () => {
    const got = inScope((values, mask) => maskedNormalize(values, mask, 42, dim));
    const wanted = sums.map((sum) => sum / 42);
    expect(largestDifference(got, wanted)).toBeLessThan(tolerance);
  });
});

it('compute_entropy', () => {
  const wanted = Array.from({ length: B * T }, (_, i) => {
    const row = logits.subarray(i * V, (i + 1) * V);
    const total = row.reduce((sum, x) => sum + Math.exp(x), 0);
    return -row.reduce((sum, x) => sum + (Math.exp(x) / total) * (x - Math.log(total)), 0);
  });
  const got = scope(() =>
    termsOfLogits(
      tensorOf(logits, [B * T, V]),
      ids(new Array<number>(B * T).fill(0)),
    ).entropies_N.toFloat32(),
  );
  expect(largestDifference(got, wanted)).toBeLessThan(tolerance);
  expect(got[0]).toBeCloseTo(4.157339, 5);
});

const lengths = Array.from({ length: B }, (_, b) =>
  responseMask.subarray(b * T, (b + 1) * T).reduce((sum, one) => sum + one, 0),
);
const places = [...responseMask.keys()].filter((i) => responseMask[i] === 1);

/** Runs micro-batches that add to one gradient; their losses, and that gradient [B, T]. */
function accumulated(
  count: number,
  loss: (logps_N: Tensor) => Tensor,
): { readonly losses: number[]; readonly gradient: Float32Array } {
  return scope(() => {
    const leaf = tensorOf(logps, [B, T]).requiresGrad_();
    const losses = Array.from({ length: count }, () => {
      const value = loss(leaf.view([B * T]).indexSelect(0, ids(places)));
      backward(value);
      return value.item();
    });
    return { losses, gradient: leaf.grad!.toFloat32() };
  });
}

describe('grpo_microbatch_train_step', () => {
  /** Of all sequences of the optimizer batch, so of every micro-batch. */
  const weights = lossWeights(new Array(accumulation).fill(lengths).flat(), 'sequences', T);
  const range = 0.1;
  const step = (logps_N: Tensor) =>
    policyGradientLoss(
      {
        logps_N,
        oldLogps_N: tensorOf(
          places.map((i) => oldLogps[i]!),
          [places.length],
        ),
        referenceLogps_N: null,
        advantages_N: tensorOf(
          places.map((i) => perToken(advantages)[i]!),
          [places.length],
        ),
        weights_N: tensorOf(
          places.map((i) => weights[Math.floor(i / T)]!),
          [places.length],
        ),
      },
      { clip: { low: range, high: range }, kl: { beta: 0, estimator: 'k3' } },
    ).loss;
  const losses = clipped(range);
  const loss = places.reduce((sum, i) => {
    const b = Math.floor(i / T);
    return sum + losses[i]! / (lengths[b]! * B * accumulation);
  }, 0);
  const gradient = Float64Array.from(logps, (_, i) => {
    if (responseMask[i] === 0) return 0;
    const [ratio, advantage] = [Math.exp(logps[i]! - oldLogps[i]!), perToken(advantages)[i]!];
    const bounded = Math.min(1 + range, Math.max(1 - range, ratio));
    const active = bounded * advantage < ratio * advantage;
    return active ? 0 : (-ratio * advantage) / (lengths[Math.floor(i / T)]! * B * accumulation);
  });

  it('grpo_clip', () => {
    const got = accumulated(1, step);
    expect(got.losses[0]).toBeCloseTo(0.00440072, 6);
    expect(Math.abs(got.losses[0]! - loss)).toBeLessThan(tolerance);
    expect(largestDifference(got.gradient, gradient)).toBeLessThan(tolerance);
  });

  it('grpo_clip, 10 steps', () => {
    const got = accumulated(10, step);
    expect(largestDifference(got.losses, new Array(10).fill(loss))).toBeLessThan(tolerance);
    expect(
      largestDifference(
        got.gradient,
        gradient.map((x) => 10 * x),
      ),
    ).toBeLessThan(tolerance);
  });
});

describe('sft_microbatch_train_step', () => {
  it.each([
    ['plain', 1, 1, -0.25],
    ['normalize', 1, 42, -0.005952],
    ['10 steps', 10, 1, -2.5],
  ])('%s', (_, steps, constant, slope) => {
    const denominator = B * accumulation * constant;
    const got = accumulated(steps, (logps_N) => supervisedLoss('nll', logps_N, denominator));
    const loss = -places.reduce((sum, i) => sum + logps[i]!, 0) / denominator;
    expect(largestDifference(got.losses, new Array(steps).fill(loss))).toBeLessThan(tolerance);
    const gradient = responseMask.map((one) => (-one * steps) / denominator);
    expect(largestDifference(got.gradient, gradient)).toBeLessThan(tolerance);
    expect(got.gradient[places[0]!]).toBeCloseTo(slope, 5);
  });
});

describe('answers', () => {
  it('parse_mmlu_response', () => {
    expect(choiceLetter('The correct answer is B. It follows from the second law.')).toBe('B');
    expect(choiceLetter('not A. The correct answer is D')).toBe('D');
  });

  it('parse_mmlu_response, unknown', () => {
    for (const text of [
      'The correct answer is 42.',
      'The correct answer is E.',
      'B',
      'The correct answer is Because',
    ])
      expect(choiceLetter(text), text).toBeNull();
  });

  it('parse_gsm8k_response', () => {
    expect(lastNumber('She sold 48/2 = 24 clips in May, so 48 + 24 = 72 clips in both months.')).toBe(72);
  });

  it('parse_gsm8k_response, unknown', () => {
    expect(lastNumber('She sold twenty-four clips in May and seventy-two in both months.')).toBeNull();
  });
});
