/** Owns the tests of the 24 game's puzzles, solver and split, against brute force over expression trees. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { allHands, game24Problems, numbersOf, shuffledNumbers, splitGame24 } from '../../src/data/game24.ts';
import {
  canReach24,
  expressionOf,
  type SolutionStep,
  searchSteps,
  solutions,
} from '../../src/data/game24-solver.ts';
import { equal, type Fraction, formatFraction, fraction } from '../../src/util/fraction.ts';
import { Rng } from '../../src/util/rng.ts';
import { processorMs } from './timing.ts';

const hand = fc.array(fc.integer({ min: 1, max: 13 }), { minLength: 4, maxLength: 4 });

/** An unreduced fraction: with four numbers up to 13 both parts stay far below 2^53. */
type Pair = readonly [number, number];

function combineAll(a: Pair, b: Pair): Pair[] {
  return [
    [a[0] * b[1] + b[0] * a[1], a[1] * b[1]],
    [a[0] * b[1] - b[0] * a[1], a[1] * b[1]],
    [a[0] * b[0], a[1] * b[1]],
    [a[0] * b[1], a[1] * b[0]],
  ];
}

/** All values of all expression trees over the numbers in this order (a denominator of 0 marks no value). */
function treeValues(numbers: readonly number[]): Pair[] {
  if (numbers.length === 1) return [[numbers[0]!, 1]];
  const values: Pair[] = [];
  for (let cut = 1; cut < numbers.length; cut++) {
    for (const a of treeValues(numbers.slice(0, cut)))
      for (const b of treeValues(numbers.slice(cut)))
        values.push(...combineAll(a, b).filter(([, d]) => d !== 0));
  }
  return values;
}

function orders(numbers: readonly number[]): number[][] {
  if (numbers.length < 2) return [[...numbers]];
  return numbers.flatMap((n, i) => orders(numbers.filter((_, k) => k !== i)).map((rest) => [n, ...rest]));
}

function solvableByBruteForce(numbers: readonly number[]): boolean {
  const distinct = new Map(orders(numbers).map((order) => [order.join(), order]));
  return [...distinct.values()].some((order) => treeValues(order).some(([n, d]) => n === 24 * d));
}

/** Replays steps from the numbers; every step must take two numbers that are there and state their exact result. */
function replay(numbers: readonly number[], steps: readonly SolutionStep[]): void {
  let state: readonly Fraction[] = numbers.map((n) => fraction(n));
  for (const step of steps) {
    expect(state[step.leftIndex]).toEqual(step.left);
    expect(state[step.rightIndex]).toEqual(step.right);
    expect(step.leftIndex).not.toBe(step.rightIndex);
    const [a, b] = [step.left, step.right].map((f): Pair => [f.numerator, f.denominator]) as [Pair, Pair];
    const [n, d] = combineAll(a, b)['+-*/'.indexOf(step.operator)]!;
    expect(n * step.value.denominator).toBe(d * step.value.numerator);
    const rest = state.filter((_, k) => k !== step.leftIndex && k !== step.rightIndex);
    expect(step.remaining).toEqual([...rest, step.value]);
    state = step.remaining;
  }
  expect(state).toEqual([fraction(24)]);
}

describe('puzzles', () => {
  test('1,362 of 1,820 hands are solvable, found at once by exact search', async () => {
    let problems: ReturnType<typeof game24Problems> = [];
    const took = await processorMs(() => {
      problems = game24Problems();
    });
    expect(took).toBeLessThan(2000);
    expect(allHands()).toHaveLength(1820);
    expect(new Set(allHands().map(String)).size).toBe(1820);
    expect(problems).toHaveLength(1362);
    expect(new Set(problems.map((p) => p.id)).size).toBe(1362);
    expect(problems.find((p) => p.id === 'game24/3-3-8-8')).toEqual({
      id: 'game24/3-3-8-8',
      question: '3 3 8 8',
      reference: '24',
      meta: { numbers: [3, 3, 8, 8] },
    });
    expect(problems.some((p) => p.id === 'game24/1-1-1-1')).toBe(false);
  });

  test('another task is refused', () => {
    const problem = { id: 'gsm8k/1', question: '?', reference: '1', meta: {} };
    expect(() => numbersOf(problem)).toThrow(expect.objectContaining({ code: 'not-game24' }));
  });
});

describe('solver', () => {
  test('agrees with brute force over expression trees', () => {
    fc.assert(
      fc.property(hand, (numbers) => {
        const solvable = solvableByBruteForce(numbers);
        expect(canReach24(numbers.map((n) => fraction(n)))).toBe(solvable);
        expect(solutions(numbers).length > 0).toBe(solvable);
      }),
      { numRuns: 150 },
    );
  });

  test('solutions are right, distinct, limited and repeatable', () => {
    fc.assert(
      fc.property(hand, (numbers) => {
        const all = solutions(numbers);
        for (const steps of all) replay(numbers, steps);
        const written = all.map((steps) =>
          steps.map((s) => [s.left, s.right].map(formatFraction).join(s.operator)).join(),
        );
        expect(new Set(written).size).toBe(all.length);
        expect(solutions(numbers, 3)).toEqual(all.slice(0, 3));
        expect(solutions(numbers, 0)).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  test('every distinct value of two numbers is a step', () => {
    const steps = searchSteps([fraction(3), fraction(8)]);
    expect(steps.map((s) => formatFraction(s.value)).sort()).toEqual(['-5', '11', '24', '3/8', '5', '8/3']);
    expect(searchSteps([fraction(5), fraction(5)])).toHaveLength(4);
    expect(searchSteps([fraction(0), fraction(5)]).filter((s) => s.operator === '/')).toHaveLength(1);
    expect(searchSteps([fraction(5), fraction(5), fraction(5)])).toHaveLength(4);
    expect(searchSteps([fraction(5)])).toEqual([]);
  });

  test('states of any size', () => {
    expect(canReach24([])).toBe(false);
    expect([23, 24].map((n) => canReach24([fraction(n)]))).toEqual([false, true]);
    expect(canReach24([fraction(8, 3), fraction(9)])).toBe(true);
    expect(canReach24([fraction(7), fraction(9)])).toBe(false);
    expect(solutions([2, 3, 4])).not.toEqual([]);
  });

  test('the puzzles that need fractions', () => {
    const written = (numbers: number[]) => solutions(numbers).map((steps) => expressionOf(numbers, steps));
    expect(written([3, 3, 8, 8])).toEqual(['8/(3-8/3)']);
    expect(written([1, 5, 5, 5])).toEqual(['5*(5-1/5)']);
    expect(solutions([3, 3, 8, 8])[0]!.every((step) => !equal(step.value, fraction(0)))).toBe(true);
  });
});

describe('split', () => {
  test('is disjoint, complete and fixed by its seed', () => {
    const { train, validation, test } = splitGame24();
    expect([train.length, validation.length, test.length]).toEqual([1162, 100, 100]);
    const ids = [...train, ...validation, ...test].map((p) => p.id);
    expect([...ids].sort()).toEqual(
      game24Problems()
        .map((p) => p.id)
        .sort(),
    );
    expect(splitGame24({ seed: 24 })).toEqual(splitGame24());
    const other = splitGame24({ seed: 25 }).test.map((p) => p.id);
    expect(other).not.toEqual(test.map((p) => p.id));
    // Pinned: a published number is worth nothing if the held-out puzzles drift.
    expect(test.slice(0, 3).map((p) => p.question)).toEqual(['3 7 8 13', '3 8 9 10', '1 1 4 7']);
  });

  test('sizes: the test part stays, and something is left to train on', () => {
    expect(splitGame24({ validation: 0 }).test).toEqual(splitGame24().test);
    expect(splitGame24({ test: 7, validation: 3 }).train).toHaveLength(1352);
    for (const sizes of [{ test: 1262 }, { test: -1 }, { validation: 0.5 }]) {
      expect(() => splitGame24(sizes)).toThrow(expect.objectContaining({ code: 'split-size' }));
    }
  });

  test('shuffled numbers are the same numbers, by stream', () => {
    const problem = game24Problems().find((p) => p.question === '1 2 3 4')!;
    const seen = new Set<string>();
    for (let step = 0; step < 40; step++) {
      const id = { seed: 1, purpose: 'test', step };
      const numbers = shuffledNumbers(problem, new Rng(id));
      expect(numbers).toEqual(shuffledNumbers(problem, new Rng(id)));
      expect([...numbers].sort()).toEqual([1, 2, 3, 4]);
      seen.add(numbers.join());
    }
    expect(seen.size).toBeGreaterThan(12);
  });
});
