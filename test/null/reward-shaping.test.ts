import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { adaptWeights, correlation, type NormaliserOptions, normalise } from '../../src/rewards/index.ts';

const close = (found: readonly number[], wanted: readonly number[], digits = 6) => {
  expect(found.length).toBe(wanted.length);
  for (const [i, value] of found.entries()) expect(value).toBeCloseTo(wanted[i]!, digits);
};

describe('normalisers', () => {
  it('follow mean and std by a moving average that the first batch begins', () => {
    const options: NormaliserOptions = { name: 'mean-std', clip: null, momentum: 0.9 };
    const one = normalise([1, 3], null, options);
    close(one.values, [-1, 1]);
    const two = normalise([11, 13], one.state, options);
    close(two.state!, [0.9 * 2 + 0.1 * 12, 1]);
    close(two.values, [8, 10]);
    close(normalise([11, 13], one.state, { ...options, clip: 5 }).values, [5, 5]);
  });

  it('scale between the least and the most to the bounds', () => {
    const options: NormaliserOptions = { name: 'min-max', clip: 2, momentum: 0.5 };
    const one = normalise([0, 5, 10], null, options);
    close(one.values, [-2, 0, 2]);
    close(normalise([0, 20], one.state, options).state!, [0, 15]);
    close(normalise([0, 5, 10], null, { ...options, clip: null }).values, [-1, 0, 1]);
  });

  it('take a batch alone, by moments or by ranks', () => {
    close(normalise([1, 2, 3], null, { name: 'z-score', clip: null }).values, [
      -Math.sqrt(1.5),
      0,
      Math.sqrt(1.5),
    ]);
    close(
      normalise([1, 2, 3, 4, 100], null, { name: 'robust', clip: null }).values,
      [-1, -0.5, 0, 0.5, 48.5],
    );
    expect(normalise([7, -9], null, { name: 'none', clip: 8 })).toEqual({ values: [7, -8], state: null });
  });

  it('know all values so far, however they were cut into batches', () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.double({ min: -100, max: 100, noNaN: true }), { maxLength: 9 }), {
          minLength: 1,
          maxLength: 9,
        }),
        (batches) => {
          let state: readonly number[] | null = null;
          for (const batch of batches) state = normalise(batch, state, { name: 'running', clip: null }).state;
          const all = batches.flat();
          if (all.length === 0) return state === null;
          const mean = all.reduce((sum, x) => sum + x, 0) / all.length;
          const squares = all.reduce((sum, x) => sum + (x - mean) ** 2, 0);
          close(state!, [all.length, mean, squares], 6);
          return true;
        },
      ),
    );
  });

  it('give no NaN where nothing varies, and nothing for nothing', () => {
    for (const name of ['none', 'mean-std', 'min-max', 'z-score', 'robust', 'running'] as const) {
      expect(normalise([], null, { name, clip: null })).toEqual({ values: [], state: null });
      expect(normalise([3, 3], null, { name, clip: null }).values.every(Number.isFinite)).toBe(true);
    }
    expect(normalise([0, 0, 0, 0, 1], null, { name: 'robust', clip: null }).values).toEqual([0, 0, 0, 0, 0]);
  });
});

describe('adaptive weights', () => {
  const bounds = { least: 0, most: 1 };

  it('move towards the shares of correlation and keep their sum', () => {
    const parts = { a: [0, 1, 0, 1], b: [1, 1, 0, 0], c: [5, 5, 5, 5] };
    const found = adaptWeights({ a: 1, b: 1, c: 2 }, parts, [0, 1, 0, 1], { ...bounds, rate: 0.1 });
    close(Object.values(found), [4 * (0.9 * 0.25 + 0.1), 4 * 0.9 * 0.25, 4 * 0.9 * 0.5]);
  });

  it('leave out completions with an unknown number', () => {
    const parts = { a: [0, 1, null, 1], b: [1, 1, 9, 0] };
    const known = { a: [0, 1, 1], b: [1, 1, 0] };
    const weights = { a: 1, b: 1 };
    expect(adaptWeights(weights, parts, [0, 2, 8, 1], bounds)).toEqual(
      adaptWeights(weights, known, [0, 2, 1], bounds),
    );
    expect(adaptWeights(weights, { a: [1, 1], b: [2, 2] }, [3, 3], bounds)).toBe(weights);
    expect(adaptWeights(weights, { a: [], b: [] }, [], bounds)).toBe(weights);
  });

  it('leave what is only watched at 0, whether it is known or not', () => {
    const parts = { a: [0, 1, 1], b: [1, 1, 0] };
    const options = { rate: 0.1, least: 0.05, most: 0.9 };
    const alone = adaptWeights({ a: 1, b: 0.5 }, parts, [0, 2, 1], options);
    for (const watched of [
      [0, 1, 0],
      [null, null, null],
    ])
      expect(adaptWeights({ a: 1, w: 0, b: 0.5 }, { ...parts, w: watched }, [0, 2, 1], options)).toEqual({
        ...alone,
        w: 0,
      });
  });

  it('stay within bounds', () => {
    const numbers = fc.array(fc.double({ min: -9, max: 9, noNaN: true }), { minLength: 5, maxLength: 5 });
    fc.assert(
      fc.property(numbers, numbers, numbers, (a, b, c) => {
        let weights: Readonly<Record<string, number>> = { a: 0.2, b: 0.3, c: 1.5 };
        const totals = a.map((x, i) => x + b[i]! * 2 + c[i]!);
        for (let i = 0; i < 20; i++)
          weights = adaptWeights(weights, { a, b, c }, totals, { rate: 0.5, least: 0.1, most: 0.6 });
        const values = Object.values(weights);
        expect(values.reduce((sum, x) => sum + x, 0)).toBeCloseTo(2, 9);
        const varies = [a, b, c].some((part) => Math.abs(correlation(part, totals)) > 0);
        if (varies) for (const x of values) expect(x).toBeGreaterThanOrEqual(0.2 - 1e-9);
        if (varies) for (const x of values) expect(x).toBeLessThanOrEqual(1.2 + 1e-9);
      }),
    );
    expect(() =>
      adaptWeights({ a: 1, b: 1 }, { a: [0, 1], b: [1, 2] }, [0, 1], { least: 0.6, most: 1 }),
    ).toThrow('expected bounds');
  });

  it('correlate as Pearson', () => {
    expect(correlation([1, 2, 3], [2, 4, 6])).toBeCloseTo(1, 12);
    expect(correlation([1, 2, 3], [3, 2, 1])).toBeCloseTo(-1, 12);
    expect(correlation([1, 2, 3, 4], [1, 3, 2, 4])).toBeCloseTo(0.8, 12);
    expect(correlation([1, 1], [1, 2])).toBe(0);
  });
});
