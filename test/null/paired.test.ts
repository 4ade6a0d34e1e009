/** Owns the tests of paired comparison against values worked out elsewhere: binomials, the normal limit of the bootstrap. */

import { describe, expect, it } from 'vitest';
import { mcnemar, pairedBootstrap } from '../../src/evaluate/paired.ts';
import { Rng } from '../../src/util/rng.ts';

describe('pairedBootstrap', () => {
  it('is the difference of means, second minus first', () => {
    const { difference, low, high } = pairedBootstrap([0, 0.5, 1], [1, 0.5, 1]);
    expect(difference).toBeCloseTo(1 / 3, 12);
    expect(low).toBe(0);
    expect(high).toBe(1);
  });

  it('approaches the normal interval for many problems', () => {
    const rng = new Rng({ seed: 5, purpose: 'test' });
    const a = Array.from({ length: 800 }, () => rng.uniform());
    const shift = a.map(() => 0.1 + 0.3 * rng.normal());
    const b = a.map((value, i) => value + shift[i]!);
    const centre = shift.reduce((x, y) => x + y, 0) / 800;
    const error = Math.sqrt(shift.reduce((x, y) => x + (y - centre) ** 2, 0)) / 800;
    const found = pairedBootstrap(a, b, { resamples: 20_000, seed: 3 });
    expect(found.difference).toBeCloseTo(centre, 12);
    expect(found.low).toBeCloseTo(centre - 1.96 * error, 2.5);
    expect(found.high).toBeCloseTo(centre + 1.96 * error, 2.5);
    const narrow = pairedBootstrap(a, b, { level: 0.5 });
    expect(narrow.high - narrow.low).toBeCloseTo(2 * 0.6745 * error, 3);
  });

  it('pairs: a constant gain over problems of any spread has an interval of no width', () => {
    const a = [0.1, 0.9, 0.4];
    const found = pairedBootstrap(
      a,
      a.map((value) => value + 0.05),
    );
    expect(found.low).toBeCloseTo(0.05, 12);
    expect(found.high).toBeCloseTo(0.05, 12);
  });

  it('follows from its seed, and refuses lists that do not pair', () => {
    const [a, b] = [
      [1, 0, 0, 1, 0],
      [1, 1, 0, 1, 1],
    ];
    expect(pairedBootstrap(a, b, { seed: 7 })).toEqual(pairedBootstrap(a, b, { seed: 7 }));
    expect(() => pairedBootstrap([1], [1, 0])).toThrow(expect.objectContaining({ code: 'unpaired' }));
  });
});

describe('mcnemar', () => {
  const lists = (onlyA: number, onlyB: number, both: number): [boolean[], boolean[]] => [
    [...Array(onlyA).fill(true), ...Array(onlyB).fill(false), ...Array(both).fill(true)],
    [...Array(onlyA).fill(false), ...Array(onlyB).fill(true), ...Array(both).fill(true)],
  ];

  it('is the exact binomial test of the problems on which the two differ', () => {
    // 2 (1 + 10 + 45) / 1024, from the tenth row of Pascal's triangle.
    expect(mcnemar(...lists(2, 8, 30))).toEqual({
      onlyA: 2,
      onlyB: 8,
      pValue: expect.closeTo(112 / 1024, 12),
      statistic: 2.5,
    });
    expect(mcnemar(...lists(0, 6, 3)).pValue).toBeCloseTo(2 / 64, 12);
    expect(mcnemar(...lists(5, 5, 0)).pValue).toBe(1);
    expect(mcnemar(...lists(0, 0, 4))).toEqual({ onlyA: 0, onlyB: 0, pValue: 1, statistic: 0 });
  });

  it('does not underflow where thousands of problems differ', () => {
    const { pValue, statistic } = mcnemar(...lists(2000, 2100, 0));
    // The normal limit with continuity correction: z = 99 / sqrt(4100), two-sided 0.12207.
    expect(statistic).toBeCloseTo(99 ** 2 / 4100, 10);
    expect(pValue).toBeCloseTo(0.12207, 3);
  });

  it('refuses lists that do not pair', () => {
    expect(() => mcnemar([true], [])).toThrow(expect.objectContaining({ code: 'unpaired' }));
  });
});
