/** Owns the tests of means, spreads, quantiles, bootstrap and pass@k against their definitions. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Rng } from '../../src/util/rng.ts';
import { bootstrapMean, mean, pairedBootstrap, passAtK, quantile, std } from '../../src/util/statistics.ts';

const rng = (seed: number) => new Rng({ seed, purpose: 'test' });

describe('mean, std, quantile', () => {
  test('known values', () => {
    expect(mean([1, 2, 6])).toBe(3);
    expect(std([2, 4, 4, 4, 5, 5, 7, 9], 0)).toBeCloseTo(2, 12);
    expect(std([1, 0], 1)).toBeCloseTo(Math.SQRT1_2, 12);
    expect([0, 0.25, 0.5, 0.9, 1].map((q) => quantile([4, 1, 3, 2], q))).toEqual([1, 1.75, 2.5, 3.7, 4]);
    expect(quantile([10, 9, 100], 0.5)).toBe(10);
  });

  test('equal values have exactly their mean and no spread', () => {
    expect(mean([0.1, 0.1, 0.1])).toBe(0.1);
    expect(std([0.1, 0.1, 0.1], 1)).toBe(0);
  });

  test('too few values, and NaN, give NaN', () => {
    expect(mean([])).toBeNaN();
    expect(std([], 0)).toBeNaN();
    expect(std([3], 1)).toBeNaN();
    expect(std([3], 0)).toBe(0);
    expect(quantile([], 0.5)).toBeNaN();
    expect(quantile([1, Number.NaN], 0.5)).toBeNaN();
    expect(mean([1, Number.NaN])).toBeNaN();
  });
});

describe('bootstrap', () => {
  test('holds the mean, repeats by seed, and is as wide as the normal approximation', () => {
    const values = Array.from({ length: 60 }, (_, i) => (i % 3 === 0 ? 1 : 0));
    const one = bootstrapMean(values, rng(1));
    expect(one).toEqual(bootstrapMean(values, rng(1)));
    expect(one.low).toBeLessThan(1 / 3);
    expect(one.high).toBeGreaterThan(1 / 3);
    // The normal approximation of a share of 20/60: 1/3 +- 1.96 * sqrt(1/3 * 2/3 / 60).
    const width = (one.high - one.low) / (2 * 1.96 * Math.sqrt(2 / 9 / 60));
    expect(width).toBeGreaterThan(0.92);
    expect(width).toBeLessThan(1.08);
    const narrow = bootstrapMean(values, rng(1), 0.5);
    expect(narrow.high - narrow.low).toBeLessThan((one.high - one.low) / 2);
  });

  test('covers the true mean about 95 times in 100, here of 40', () => {
    let covered = 0;
    for (let trial = 0; trial < 40; trial++) {
      const draw = new Rng({ seed: 5, purpose: 'test-data', step: trial });
      const values = Array.from({ length: 20 }, () => draw.uniform());
      const { low, high } = bootstrapMean(values, rng(trial));
      if (low <= 0.5 && 0.5 <= high) covered++;
    }
    expect(covered).toBeGreaterThanOrEqual(33);
    expect(covered).toBeLessThan(40);
  });

  test('constant, single and empty lists', () => {
    expect(bootstrapMean([0.5, 0.5], rng(1))).toEqual({ mean: 0.5, low: 0.5, high: 0.5 });
    expect(bootstrapMean([2], rng(1))).toEqual({ mean: 2, low: 2, high: 2 });
    expect(bootstrapMean([], rng(1)).low).toBeNaN();
  });

  test('pairs keep what the items share', () => {
    const before = Array.from({ length: 40 }, (_, i) => i);
    const after = before.map((x) => x + 1);
    expect(pairedBootstrap(before, after, rng(1))).toEqual({ mean: 1, low: 1, high: 1 });
    expect(() => pairedBootstrap([1], [1, 2], rng(1))).toThrow(expect.objectContaining({ code: 'unpaired' }));
  });
});

/** C(n, k) exactly. */
function choose(n: number, k: number): bigint {
  let product = 1n;
  for (let i = 0; i < k; i++) product = (product * BigInt(n - i)) / BigInt(i + 1);
  return k > n ? 0n : product;
}

describe('passAtK', () => {
  test('equals 1 - C(n-c, k) / C(n, k)', () => {
    const cases = fc
      .integer({ min: 1, max: 200 })
      .chain((n) => fc.tuple(fc.constant(n), fc.integer({ min: 0, max: n }), fc.integer({ min: 1, max: n })));
    fc.assert(
      fc.property(cases, ([n, c, k]) => {
        const total = choose(n, k);
        const scale = 10n ** 15n;
        const exact = Number(((total - choose(n - c, k)) * scale) / total) / 1e15;
        expect(passAtK(n, c, k)).toBeCloseTo(exact, 10);
      }),
    );
  });

  test('pass@1 is the share, pass@n asks for any, and impossible counts are refused', () => {
    expect(passAtK(8, 3, 1)).toBeCloseTo(3 / 8, 15);
    expect([passAtK(8, 0, 8), passAtK(8, 1, 8)]).toEqual([0, 1]);
    for (const [n, c, k] of [
      [4, 1, 8],
      [8, 9, 1],
      [8, -1, 1],
      [8, 1, 0],
      [8, 0.5, 1],
    ] as const) {
      expect(() => passAtK(n, c, k)).toThrow(expect.objectContaining({ code: 'pass-at-k' }));
    }
  });
});
