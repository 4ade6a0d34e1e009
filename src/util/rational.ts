/** Owns exact rationals of big integers, bounded in size. Knows no text and no rounding. */

/** A rational in lowest terms; the denominator is positive. */
export interface Rational {
  readonly p: bigint;
  readonly q: bigint;
}

/** Thrown where a result would pass the bound on digits: nothing is said about its value. */
export class TooLarge extends Error {
  override readonly name = 'TooLarge';
}

/** Bits that a numerator or denominator may have. */
const MAX_BITS = 40_000;

export const ZERO: Rational = { p: 0n, q: 1n };
export const ONE: Rational = { p: 1n, q: 1n };
const MINUS_ONE: Rational = { p: -1n, q: 1n };

/** p / q in lowest terms; throws RangeError where q is 0. */
export function rational(p: bigint | number, q: bigint | number = 1n): Rational {
  const top = BigInt(p);
  const bottom = BigInt(q);
  if (bottom === 0n) throw new RangeError('division by zero');
  if (bottom === 1n) return { p: top, q: 1n };
  const shared = gcd(abs(top), abs(bottom));
  const sign = bottom < 0n ? -1n : 1n;
  return { p: (sign * top) / shared, q: (sign * bottom) / shared };
}

export function addR(a: Rational, b: Rational): Rational {
  if (a.q === 1n && b.q === 1n) return { p: a.p + b.p, q: 1n };
  if (bitsOf(a) + bitsOf(b) > MAX_BITS) throw new TooLarge();
  return rational(a.p * b.q + b.p * a.q, a.q * b.q);
}

export function negR(a: Rational): Rational {
  return { p: -a.p, q: a.q };
}

export function mulR(a: Rational, b: Rational): Rational {
  if (bitsOf(a) + bitsOf(b) > MAX_BITS) throw new TooLarge();
  if (a.q === 1n && b.q === 1n) return { p: a.p * b.p, q: 1n };
  return rational(a.p * b.p, a.q * b.q);
}

/** 1 / a; throws RangeError at 0. */
export function inverseR(a: Rational): Rational {
  return rational(a.q, a.p);
}

/** a to a whole power, bounded before it is computed. */
export function powR(a: Rational, exponent: bigint): Rational {
  if (exponent < 0n) return powR(inverseR(a), -exponent);
  if (a.p === 0n) return exponent === 0n ? ONE : ZERO;
  if (a.q === 1n && (a.p === 1n || a.p === -1n)) return a.p === 1n || exponent % 2n === 0n ? ONE : MINUS_ONE;
  if (exponent > BigInt(MAX_BITS) || bitsOf(a) * Number(exponent) > MAX_BITS) throw new TooLarge();
  return { p: a.p ** exponent, q: a.q ** exponent };
}

export function equalR(a: Rational, b: Rational): boolean {
  return a.p === b.p && a.q === b.q;
}

/** Negative, 0 or positive as a is below, at or above b. */
export function compareR(a: Rational, b: Rational): number {
  const difference = a.p * b.q - b.p * a.q;
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

export function absR(a: Rational): Rational {
  return a.p < 0n ? negR(a) : a;
}

/** The greatest whole number not above a. */
export function floorR(a: Rational): bigint {
  const whole = a.p / a.q;
  return a.p < 0n && whole * a.q !== a.p ? whole - 1n : whole;
}

export function isInteger(a: Rational): boolean {
  return a.q === 1n;
}

/** The nearest double; infinite where there is none. */
export function toNumber({ p, q }: Rational): number {
  const bits = Math.max(bitLength(p), bitLength(q));
  if (bits <= 1000) return Number(p) / Number(q);
  // Both parts are brought into a double's range; 200 bits of the quotient remain.
  const shift = BigInt(Math.max(0, bitLength(q) - bitLength(p) + 200));
  const scaled = (abs(p) << shift) / q;
  const extra = Math.max(0, bitLength(scaled) - 200);
  const magnitude = Number(scaled >> BigInt(extra)) * 2 ** (extra - Number(shift));
  return p < 0n ? -magnitude : magnitude;
}

export function formatR({ p, q }: Rational): string {
  return q === 1n ? String(p) : `${p}/${q}`;
}

export function gcd(a: bigint, b: bigint): bigint {
  let [x, y] = [a, b];
  while (y !== 0n) [x, y] = [y, x % y];
  return x;
}

export function abs(x: bigint): bigint {
  return x < 0n ? -x : x;
}

/** How many binary digits |x| has, at most a few too many. */
function bitLength(x: bigint): number {
  const magnitude = abs(x);
  if (magnitude <= 0xffff_ffffn) return 32 - Math.clz32(Number(magnitude));
  return magnitude.toString(16).length * 4;
}

function bitsOf({ p, q }: Rational): number {
  return bitLength(p) + bitLength(q);
}
