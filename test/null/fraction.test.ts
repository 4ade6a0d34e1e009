/** Owns the tests of exact fractions, against bigint arithmetic written without them. */

import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  add,
  compare,
  divide,
  equal,
  type Fraction,
  formatFraction,
  fraction,
  multiply,
  subtract,
} from '../../src/util/fraction.ts';

const small = fc
  .tuple(fc.integer({ min: -500, max: 500 }), fc.integer({ min: 1, max: 500 }))
  .map(([n, d]) => fraction(n, d));
/** Parts up to 2^53 - 1, so that products overflow. */
const large = fc.tuple(fc.maxSafeInteger(), fc.integer({ min: 1 })).map(([n, d]) => fraction(n, d));

function gcd(a: bigint, b: bigint): bigint {
  return b === 0n ? (a < 0n ? -a : a) : gcd(b, a % b);
}

/** The operation in bigints, in lowest terms, or null where a part leaves the safe integers. */
function reference(a: Fraction, operator: string, b: Fraction): { n: bigint; d: bigint } | null {
  const [an, ad, bn, bd] = [a.numerator, a.denominator, b.numerator, b.denominator].map(BigInt) as [
    bigint,
    bigint,
    bigint,
    bigint,
  ];
  let [n, d] = [an * bd + bn * ad, ad * bd];
  if (operator === '-') n = an * bd - bn * ad;
  if (operator === '*') n = an * bn;
  if (operator === '/') [n, d] = bn < 0n ? [-an * bd, -ad * bn] : [an * bd, ad * bn];
  const divisor = gcd(n, d);
  n /= divisor;
  d /= divisor;
  const limit = BigInt(Number.MAX_SAFE_INTEGER);
  return n > limit || -n > limit || d > limit ? null : { n, d };
}

function check(a: Fraction, b: Fraction): void {
  const run = { '+': add, '-': subtract, '*': multiply, '/': divide };
  for (const [operator, operation] of Object.entries(run)) {
    if (operator === '/' && b.numerator === 0) {
      expect(divide(a, b)).toBeNull();
      continue;
    }
    const wanted = reference(a, operator, b);
    if (wanted === null) {
      expect(() => operation(a, b)).toThrow(expect.objectContaining({ code: 'fraction-overflow' }));
    } else {
      expect(operation(a, b)).toEqual({ numerator: Number(wanted.n), denominator: Number(wanted.d) });
    }
  }
}

test('small fractions are exact and in lowest terms', () => {
  fc.assert(fc.property(small, small, check), { numRuns: 500 });
});

test('large fractions are exact or refused, never rounded', () => {
  fc.assert(fc.property(large, large, check), { numRuns: 300 });
  fc.assert(fc.property(large, small, check), { numRuns: 300 });
  const big = fraction(Number.MAX_SAFE_INTEGER);
  expect(multiply(big, fraction(1, Number.MAX_SAFE_INTEGER))).toEqual(fraction(1));
  expect(multiply(fraction(3_000_000_001, 7), fraction(7_000_000, 3_000_000_001))).toEqual(
    fraction(1_000_000),
  );
});

test('order agrees with subtraction', () => {
  fc.assert(
    fc.property(fc.oneof(small, large), fc.oneof(small, large), (a, b) => {
      const left = BigInt(a.numerator) * BigInt(b.denominator);
      const right = BigInt(b.numerator) * BigInt(a.denominator);
      expect(Math.sign(compare(a, b))).toBe(left < right ? -1 : left > right ? 1 : 0);
      expect(equal(a, b)).toBe(left === right);
    }),
  );
});

test('signs, zero and text', () => {
  expect(fraction(6, -4)).toEqual({ numerator: -3, denominator: 2 });
  expect(Object.is(multiply(fraction(0), fraction(-3)).numerator, 0)).toBe(true);
  expect(fraction(0, -5)).toEqual({ numerator: 0, denominator: 1 });
  expect([fraction(7, 3), fraction(-10, 2), fraction(0)].map(formatFraction)).toEqual(['7/3', '-5', '0']);
  for (const [n, d] of [
    [1, 0],
    [0.5, 1],
    [2 ** 53, 1],
    [1, Number.NaN],
  ] as const) {
    expect(() => fraction(n, d)).toThrow(expect.objectContaining({ code: 'fraction-parts' }));
  }
});
