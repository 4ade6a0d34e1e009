/** Owns exact fractions of safe integers: every result is right or an error. Knows no game and no rounding. */

import { ReckonError } from './errors.ts';

/** A fraction in lowest terms with a positive denominator; both parts are safe integers. */
export interface Fraction {
  readonly numerator: number;
  readonly denominator: number;
}

/** `numerator / denominator` in lowest terms. Throws `fraction-parts` unless both are safe integers and the second is not 0. */
export function fraction(numerator: number, denominator = 1): Fraction {
  if (!Number.isSafeInteger(numerator) || !Number.isSafeInteger(denominator) || denominator === 0) {
    throw new ReckonError(
      'internal',
      'fraction-parts',
      `Expected two safe integers with a non-zero denominator, found ${numerator}/${denominator}; pass whole numbers.`,
    );
  }
  return reduce(numerator, denominator);
}

/** a + b. Throws `fraction-overflow` where the reduced result has a part beyond 2^53 - 1, as all operations here do. */
export function add(a: Fraction, b: Fraction): Fraction {
  const left = a.numerator * b.denominator;
  const right = b.numerator * a.denominator;
  const denominator = a.denominator * b.denominator;
  if (safe(left) && safe(right) && safe(left + right) && safe(denominator))
    return reduce(left + right, denominator);
  const exactLeft = BigInt(a.numerator) * BigInt(b.denominator);
  const exactRight = BigInt(b.numerator) * BigInt(a.denominator);
  return reduceExactly(exactLeft + exactRight, BigInt(a.denominator) * BigInt(b.denominator));
}

/** a - b. */
export function subtract(a: Fraction, b: Fraction): Fraction {
  return add(a, { numerator: -b.numerator, denominator: b.denominator });
}

/** a * b. */
export function multiply(a: Fraction, b: Fraction): Fraction {
  const numerator = a.numerator * b.numerator;
  const denominator = a.denominator * b.denominator;
  if (safe(numerator) && safe(denominator)) return reduce(numerator, denominator);
  return reduceExactly(
    BigInt(a.numerator) * BigInt(b.numerator),
    BigInt(a.denominator) * BigInt(b.denominator),
  );
}

/** a / b, or null where b is 0. */
export function divide(a: Fraction, b: Fraction): Fraction | null {
  if (b.numerator === 0) return null;
  const sign = Math.sign(b.numerator);
  return multiply(a, { numerator: sign * b.denominator, denominator: sign * b.numerator });
}

/** Whether two fractions are the same number. */
export function equal(a: Fraction, b: Fraction): boolean {
  return a.numerator === b.numerator && a.denominator === b.denominator;
}

/** Negative, zero or positive as a is below, equal to or above b; exact, for sorting. */
export function compare(a: Fraction, b: Fraction): number {
  const left = a.numerator * b.denominator;
  const right = b.numerator * a.denominator;
  if (safe(left) && safe(right)) return left - right;
  const exactLeft = BigInt(a.numerator) * BigInt(b.denominator);
  const exactRight = BigInt(b.numerator) * BigInt(a.denominator);
  return exactLeft < exactRight ? -1 : exactLeft > exactRight ? 1 : 0;
}

/** '7/3' or, for whole numbers, '-5'. */
export function formatFraction(value: Fraction): string {
  return value.denominator === 1 ? String(value.numerator) : `${value.numerator}/${value.denominator}`;
}

/** A float product or sum that reads as a safe integer was computed without rounding, because rounding is monotone. */
function safe(value: number): boolean {
  return Math.abs(value) <= Number.MAX_SAFE_INTEGER;
}

function reduce(numerator: number, denominator: number): Fraction {
  if (numerator === 0) return { numerator: 0, denominator: 1 };
  let divisor = Math.abs(numerator);
  let rest = Math.abs(denominator);
  while (rest !== 0) [divisor, rest] = [rest, divisor % rest];
  if (denominator < 0) divisor = -divisor;
  return { numerator: numerator / divisor, denominator: denominator / divisor };
}

function reduceExactly(numerator: bigint, denominator: bigint): Fraction {
  let divisor = numerator < 0n ? -numerator : numerator;
  let rest = denominator;
  while (rest !== 0n) [divisor, rest] = [rest, divisor % rest];
  const result = { numerator: Number(numerator / divisor), denominator: Number(denominator / divisor) };
  if (safe(result.numerator) && safe(result.denominator)) return result;
  throw new ReckonError(
    'internal',
    'fraction-overflow',
    `Expected a fraction of safe integers, found ${numerator / divisor}/${denominator / divisor}; use smaller numbers.`,
  );
}
