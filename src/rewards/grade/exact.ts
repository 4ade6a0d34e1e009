/** Owns the exact value of an answer's tree, as far as exact algebra reaches. Knows no approximation. */

import {
  abs,
  absR,
  compareR,
  floorR,
  gcd,
  inverseR,
  isInteger,
  mulR,
  negR,
  ONE,
  powR,
  type Rational,
  rational,
  TooLarge,
  ZERO,
} from '../../util/rational.ts';
import {
  addQ,
  atom,
  constant,
  factorise,
  inverseQ,
  keyOf,
  mulP,
  mulQ,
  type Polynomial,
  powQ,
  type Quotient,
  rationalValue,
  UNIT,
  whole,
} from './algebra.ts';
import type { Expr } from './expression.ts';

const MAX_FACTORIAL = 3000n;

/** Quotient of sums of products for a scalar tree. Throws TooLarge, and RangeError where it divides by zero. */
export function exact(expr: Expr): Quotient {
  switch (expr.kind) {
    case 'number':
      return whole(constant(expr.value));
    case 'symbol':
      return whole(expr.name === 'i' ? atom('i') : atom(expr.name));
    case 'sum':
      return expr.terms.map(exact).reduce(addQ);
    case 'product':
      return expr.factors.map(exact).reduce(mulQ);
    case 'power':
      return raise(exact(expr.base), exact(expr.exponent));
    case 'call':
      return applied(expr.name, expr.args);
    case 'quantity':
      return quantity(expr.value, expr.unit);
    default:
      return whole(atom(opaque(expr)));
  }
}

/** A tree written out as a name: equal names mean equal trees. */
export function opaque(expr: Expr): string {
  switch (expr.kind) {
    case 'list':
      return `${expr.open}${expr.items.map(opaque).join(',')}${expr.close}`;
    case 'matrix':
      return `[${expr.rows.map((row) => row.map(opaque).join(',')).join(';')}]`;
    case 'relation':
      return expr.parts.map((part, i) => `${opaque(part)}${expr.operators[i] ?? ''}`).join('');
    case 'text':
      return `"${expr.text.toLowerCase().replace(/\s+/g, ' ')}"`;
    case 'plusminus':
      return `(${expr.left === null ? '' : opaque(expr.left)}±${opaque(expr.right)})`;
    default:
      return `(${tryKey(expr)})`;
  }
}

function tryKey(expr: Expr): string {
  try {
    return keyOf(exact(expr));
  } catch (error) {
    if (!(error instanceof TooLarge || error instanceof RangeError)) throw error;
    return plainKey(expr);
  }
}

function plainKey(expr: Expr): string {
  if (expr.kind === 'number') return `${expr.value.p}/${expr.value.q}`;
  if (expr.kind === 'symbol') return expr.name;
  if (expr.kind === 'sum') return `+(${expr.terms.map(plainKey).sort().join(',')})`;
  if (expr.kind === 'product') return `*(${expr.factors.map(plainKey).sort().join(',')})`;
  if (expr.kind === 'power') return `^(${plainKey(expr.base)},${plainKey(expr.exponent)})`;
  if (expr.kind === 'call') return `${expr.name}(${expr.args.map(plainKey).join(',')})`;
  if (expr.kind === 'quantity') return `${plainKey(expr.value)} ${expr.unit}`;
  return opaque(expr);
}

function quantity(value: Expr, unit: string): Quotient {
  const inner = exact(value);
  if (unit === '%') return mulQ(inner, whole(constant(rational(1, 100))));
  if (unit === 'degree') return mulQ(mulQ(inner, whole(constant(rational(1, 180)))), whole(atom('pi')));
  return inner;
}

function raise(base: Quotient, exponent: Quotient): Quotient {
  const value = rationalValue(exponent);
  if (value !== null && isInteger(value)) return wholePower(base, value.p);
  const number = rationalValue(base);
  if (number !== null && value !== null) return numberRoot(number, value);
  if (value !== null) return fractionalPower(base, value);
  return symbolicPower(base, exponent);
}

function wholePower(base: Quotient, exponent: bigint): Quotient {
  const number = rationalValue(base);
  if (number !== null) {
    if (number.p === 0n && exponent <= 0n) throw new RangeError('division by zero');
    return whole(constant(powR(number, exponent)));
  }
  try {
    return powQ(base, exponent);
  } catch (error) {
    if (!(error instanceof TooLarge)) throw error;
    return whole(atom(`pow:${keyOf(base)}`, rational(exponent)));
  }
}

/** A rational to a fractional power: roots of primes; a negative base gives powers of i for square roots alone. */
function numberRoot(base: Rational, exponent: Rational): Quotient {
  if (base.p === 0n) {
    if (exponent.p < 0n) throw new RangeError('division by zero');
    return whole(constant(ZERO));
  }
  if (base.p < 0n && exponent.q !== 2n) return whole(atom(`pow:${base.p}/${base.q}`, exponent));
  let value: Polynomial = base.p < 0n ? atom('i', rational(exponent.p)) : UNIT;
  for (const [prime, count] of factorise(absR(base)))
    value = mulP(value, atom(`#${prime}`, mulR(rational(count), exponent)));
  return whole(value);
}

/** Positive constants and single letters keep their own exponents; anything else becomes one atom. */
function fractionalPower(base: Quotient, exponent: Rational): Quotient {
  const only =
    base.top.size === 1 && rationalValue({ top: base.bottom, bottom: UNIT }) !== null
      ? [...base.top.values()][0]!
      : null;
  const divisor = rationalValue({ top: base.bottom, bottom: UNIT });
  if (only !== null && divisor !== null) {
    const coefficient = mulR(only.coefficient, inverseR(divisor));
    const positive = only.powers.every(([name]) => name === 'pi' || name === 'e' || name.startsWith('#'));
    const single =
      only.powers.length === 1 && compareR(only.powers[0]![1], ONE) === 0 && only.powers[0]![0] !== 'i';
    if (coefficient.p > 0n && (positive || single)) {
      let value = numberRoot(coefficient, exponent).top;
      for (const [name, own] of only.powers) value = mulP(value, atom(name, mulR(own, exponent)));
      return whole(value);
    }
  }
  return whole(atom(`pow:${keyOf(base)}`, exponent));
}

/** b^(c x + d) = (b^x)^c b^d, with whole bases split into primes. */
function symbolicPower(base: Quotient, exponent: Quotient): Quotient {
  const number = rationalValue(base);
  const divisor = rationalValue({ top: exponent.bottom, bottom: UNIT });
  const name = number === null ? keyOf(base) : null;
  if (divisor === null || (number !== null && number.p <= 0n))
    return whole(atom(`exp:${keyOf(base)}^${keyOf(exponent)}`));
  let value: Quotient = whole(UNIT);
  for (const { coefficient, powers } of exponent.top.values()) {
    const share = mulR(coefficient, inverseR(divisor));
    if (powers.length === 0) {
      value = mulQ(value, raise(base, whole(constant(share))));
      continue;
    }
    const rest = keyOf(whole(powers.map(([own, power]) => atom(own, power)).reduce(mulP)));
    if (number === null) value = mulQ(value, whole(atom(`exp:${name}^${rest}`, share)));
    else {
      for (const [prime, count] of factorise(number))
        value = mulQ(value, whole(atom(`exp:${prime}^${rest}`, mulR(share, rational(count)))));
    }
  }
  return value;
}

function applied(name: string, args: readonly Expr[]): Quotient {
  if (name === 'frac') return mulQ(exact(args[0]!), inverseQ(exact(args[1]!)));
  if (name === 'root') return raise(exact(args[0]!), inverseQ(exact(args[1]!)));
  if (name === 'exp') return raise(whole(atom('e')), exact(args[0]!));
  const inner = args.map((arg) => (isScalar(arg) ? exact(arg) : whole(atom(opaque(arg)))));
  if (name === 'ln' && inner.length === 1) return logarithm(inner[0]!);
  if (name === 'log')
    return mulQ(logarithm(inner[0]!), inverseQ(logarithm(inner[1] ?? whole(constant(rational(10))))));
  if (name === 'log10') return mulQ(logarithm(inner[0]!), inverseQ(logarithm(whole(constant(rational(10))))));
  const values = inner.map(rationalValue);
  if (values.every((value) => value !== null)) {
    const value = numberFunction(name, values);
    if (value !== null) return whole(constant(value));
  }
  const commutes = name === 'max' || name === 'min' || name === 'gcd' || name === 'lcm';
  const keys = inner.map(keyOf);
  return whole(atom(`${name}(${(commutes ? [...new Set(keys)].sort() : keys).join(',')})`));
}

function isScalar(expr: Expr): boolean {
  return (
    expr.kind !== 'list' &&
    expr.kind !== 'matrix' &&
    expr.kind !== 'relation' &&
    expr.kind !== 'text' &&
    expr.kind !== 'plusminus'
  );
}

/** ln of a positive rational is a sum over its primes. */
function logarithm(inner: Quotient): Quotient {
  const value = rationalValue(inner);
  if (value !== null && value.p > 0n) {
    let result: Quotient = whole(constant(ZERO));
    for (const [prime, count] of factorise(value))
      result = addQ(result, mulQ(whole(constant(rational(count))), whole(atom(`ln(${prime})`))));
    return result;
  }
  if (value !== null && value.p === 0n) throw new RangeError('logarithm of zero');
  const only = inner.top.size === 1 && inner.bottom === UNIT ? [...inner.top.values()][0]! : null;
  const euler =
    only?.powers.length === 1 && only.powers[0]![0] === 'e' && compareR(only.coefficient, ONE) === 0;
  return euler ? whole(constant(only.powers[0]![1])) : whole(atom(`ln(${keyOf(inner)})`));
}

/** Functions of rationals whose values are rational; null where they are not, or not known. */
function numberFunction(name: string, values: readonly Rational[]): Rational | null {
  const [a, b] = [values[0] ?? ZERO, values[1]];
  switch (name) {
    case 'abs':
      return absR(a);
    case 'floor':
      return rational(floorR(a));
    case 'ceil':
      return rational(-floorR(negR(a)));
    case 'sign':
      return rational(a.p > 0n ? 1 : a.p < 0n ? -1 : 0);
    case 'max':
      return values.reduce((x, y) => (compareR(x, y) >= 0 ? x : y));
    case 'min':
      return values.reduce((x, y) => (compareR(x, y) <= 0 ? x : y));
    case 'gcd':
      return values.map(absR).reduce((x, y) => rational(gcd(x.p * y.q, y.p * x.q), x.q * y.q));
    case 'lcm':
      return values.some(({ p }) => p === 0n)
        ? ZERO
        : values.map(absR).reduce((x, y) => rational(x.p * y.p, gcd(x.p * y.q, y.p * x.q)));
    case 'mod':
      return b === undefined || b.p === 0n
        ? null
        : rational(a.p * b.q - floorR(rational(a.p * b.q, a.q * b.p)) * b.p * a.q, a.q * b.q);
    case 'factorial2':
      return isInteger(a) && a.p >= 0n ? rational(factorial(a.p, 2n)) : null;
    case 'factorial':
      return isInteger(a) && a.p >= 0n ? rational(factorial(a.p)) : null;
    case 'binom':
      return b !== undefined && isInteger(a) && isInteger(b) ? rational(binomial(a.p, b.p)) : null;
    case 'ratio':
      return values.length === 2 && b !== undefined && b.p !== 0n ? mulR(a, inverseR(b)) : null;
    case 'base':
      return b === undefined ? null : inBase(a, b);
    default:
      return null;
  }
}

/** The product of n, n - step, ... down to 1 or 2. */
function factorial(n: bigint, step = 1n): bigint {
  if (n > MAX_FACTORIAL) throw new TooLarge();
  let product = 1n;
  for (let i = n; i > 1n; i -= step) product *= i;
  return product;
}

function binomial(n: bigint, k: bigint): bigint {
  if (n < 0n || k < 0n) throw new TooLarge();
  if (k > n) return 0n;
  const least = k > n - k ? n - k : k;
  if (n > 40_000n || least > MAX_FACTORIAL * 2n) throw new TooLarge();
  let value = 1n;
  for (let i = 1n; i <= least; i++) value = (value * (n - least + i)) / i;
  return value;
}

/** The number whose digits in that base are written; null where a digit is too large. */
function inBase(digits: Rational, base: Rational): Rational | null {
  if (!isInteger(digits) || !isInteger(base) || base.p < 2n || base.p > 10n) return null;
  let value = 0n;
  for (const digit of String(abs(digits.p))) {
    if (BigInt(digit) >= base.p) return null;
    value = value * base.p + BigInt(digit);
  }
  return rational(digits.p < 0n ? -value : value);
}
