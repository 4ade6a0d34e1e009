/** Owns the equality of two scalar trees: exact first, then algebra, then agreement at sampled points. Knows no lists. */

import { compareR, isInteger, type Rational, rational, TooLarge, toNumber } from '../../util/rational.ts';
import { Rng } from '../../util/rng.ts';
import { atomsOf, type Quotient, rationalValue, sameQ } from './algebra.ts';
import { exact, opaque } from './exact.ts';
import type { Expr } from './expression.ts';
import { type Complex, evaluateAt, type Point } from './numeric.ts';

/** Whether two answers are the same; null where it cannot be told. */
export interface Comparison {
  readonly equal: boolean | null;
  readonly reason: string;
}

export const DIFFERENT: Comparison = { equal: false, reason: 'different' };

const POINTS = 6;
/** Relative difference up to which two doubles are the same number. */
const CLOSE = 1e-9;
/** Digits that a rounded value must show before it may stand for the exact one. */
const LEAST_DIGITS = 5;
/** Digits from which a decimal may be the print of the double that is nearest to the exact number. */
const DOUBLE_DIGITS = 15;

/** Compares two scalars: numbers exactly, expressions by algebra, and what algebra cannot decide at seeded points. */
export function compareScalars(a: Expr, b: Expr): Comparison {
  const [left, right] = [quotientOf(a), quotientOf(b)];
  if (left !== null && right !== null) {
    const [x, y] = [rationalValue(left), rationalValue(right)];
    if (x !== null && y !== null) return compareNumbers(x, a, y, b);
    const same = identical(left, right);
    if (same === true) return { equal: true, reason: 'symbolic' };
    if (same === false && algebraic(left) && algebraic(right)) return roundedRoot(a, b);
  } else if (opaque(a) === opaque(b)) return { equal: true, reason: 'identical' };
  return comparePoints(a, b);
}

function quotientOf(expr: Expr): Quotient | null {
  try {
    return exact(expr);
  } catch (error) {
    if (error instanceof TooLarge || error instanceof RangeError) return null;
    throw error;
  }
}

function identical(a: Quotient, b: Quotient): boolean | null {
  try {
    return sameQ(a, b);
  } catch (error) {
    if (error instanceof TooLarge) return null;
    throw error;
  }
}

/** Roots of different primes, and i, are independent over the rationals: forms that differ are different numbers. */
function algebraic(value: Quotient): boolean {
  return [...atomsOf(value)].every((name) => name.startsWith('#') || name === 'i');
}

/** Exact numbers are equal or not; a decimal that shows enough digits may be the rounding of the other. */
function compareNumbers(x: Rational, a: Expr, y: Rational, b: Expr): Comparison {
  if (compareR(x, y) === 0) return { equal: true, reason: 'exact' };
  if (isRounding(a, x, y) || isRounding(b, y, x)) return { equal: true, reason: 'rounded' };
  return DIFFERENT;
}

/** Whether `value`, written as a decimal, is what the other number rounds to at as many digits. */
function isRounding(expr: Expr, value: Rational, other: Rational): boolean {
  const decimals = decimalsOf(expr);
  const digits = significant(value, decimals);
  if (decimals === 0 || isInteger(other) || digits < LEAST_DIGITS) return false;
  if (digits >= DOUBLE_DIGITS && toNumber(value) === toNumber(other)) return true;
  const scale = 10n ** BigInt(decimals);
  const off = rational((value.p * other.q - other.p * value.q) * scale * 2n, value.q * other.q);
  return off.p <= off.q && -off.p <= off.q;
}

/** Digits after the point of a literal with a point, its sign taken off; 0 for all else. */
function decimalsOf(expr: Expr): number {
  if (expr.kind === 'number') return expr.decimals ?? 0;
  if (expr.kind === 'product' && expr.factors.length === 2 && expr.factors[0]!.kind === 'number')
    return decimalsOf(expr.factors[1]!);
  return 0;
}

function significant(value: Rational, decimals: number): number {
  const digits = (value.p * 10n ** BigInt(decimals)) / value.q;
  return String(digits < 0n ? -digits : digits).length;
}

function roundedRoot(a: Expr, b: Expr): Comparison {
  return roundsTo(a, b) || roundsTo(b, a) ? { equal: true, reason: 'rounded' } : DIFFERENT;
}

/** The same for a constant that is known in double precision alone. */
function roundsTo(decimal: Expr, other: Expr): boolean {
  const decimals = decimalsOf(decimal);
  if (isDoubleOfRoot(decimal, other)) return true;
  if (decimals === 0 || decimals > 15) return false;
  const written = evaluateAt(decimal, randomPoint(0));
  const { re, im } = evaluateAt(other, randomPoint(1));
  const again = evaluateAt(other, randomPoint(2));
  // A value that changes with the point is no constant.
  if (Math.abs(im) > 1e-12 || Math.abs(re - again.re) > Math.abs(re) * CLOSE || Number.isNaN(re))
    return false;
  if (String(Math.abs(written.re)).replace(/^0?\.0*|\./g, '').length < LEAST_DIGITS) return false;
  return Math.abs(written.re - re) <= 0.5 * 10 ** -decimals * (1 + 1e-9);
}

/** Whether a decimal is the double that is nearest to one square root; no double of a sum of roots is that exact. */
function isDoubleOfRoot(decimal: Expr, other: Expr): boolean {
  const written = quotientOf(decimal);
  const value = written === null ? null : rationalValue(written);
  if (value === null || significant(value, decimalsOf(decimal)) < DOUBLE_DIGITS) return false;
  const quotient = quotientOf({ kind: 'product', factors: [other, other] });
  const square = quotient === null ? null : rationalValue(quotient);
  if (square === null) return false;
  return Math.sign(evaluateAt(other, randomPoint(0)).re) * Math.sqrt(toNumber(square)) === toNumber(value);
}

/** Agreement at seeded points, of which the first are positive: it says `numeric`, since it proves nothing. */
function comparePoints(a: Expr, b: Expr): Comparison {
  let seen = 0;
  for (let index = 0; index < POINTS; index++) {
    const point = randomPoint(index);
    const [x, y] = [evaluateAt(a, point), evaluateAt(b, point)];
    if (!finite(x) || !finite(y)) {
      if (finite(x) !== finite(y) && index === 0 && !Number.isNaN(x.re + y.re)) return DIFFERENT;
      continue;
    }
    seen++;
    if (!close(x, y)) return roundedRoot(a, b);
  }
  if (seen >= 2) return { equal: true, reason: 'numeric' };
  if (oneIsHuge(a, b)) return DIFFERENT;
  return { equal: null, reason: 'not-decidable' };
}

/** One side is an ordinary number and the other passes every bound. */
function oneIsHuge(a: Expr, b: Expr): boolean {
  const small = (expr: Expr) => {
    const quotient = quotientOf(expr);
    const value = quotient === null ? null : rationalValue(quotient);
    return value !== null && Number.isFinite(toNumber(value));
  };
  return small(a) !== small(b);
}

function finite({ re, im }: Complex): boolean {
  return Number.isFinite(re) && Number.isFinite(im);
}

function close(x: Complex, y: Complex): boolean {
  const size = Math.max(Math.hypot(x.re, x.im), Math.hypot(y.re, y.im));
  return Math.hypot(x.re - y.re, x.im - y.im) <= CLOSE * size + 1e-13;
}

/** A value for every letter, from its name and the point's number alone. */
function randomPoint(index: number): Point {
  return (name) => {
    const rng = new Rng({ seed: index, purpose: 'grade', id: name });
    const size = 0.3 + 2.1 * rng.uniform();
    return { re: index % 3 === 2 ? -size : size, im: 0 };
  };
}
