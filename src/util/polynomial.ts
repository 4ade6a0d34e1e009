/** Owns the expanded form of polynomials with exact coefficients, for simplifying expressions. Knows no solving and no float. */

import { type Arithmetic, exactArithmetic, parseArithmetic } from './arithmetic.ts';
import {
  addR,
  equalR,
  formatR,
  inverseR,
  mulR,
  negR,
  ONE,
  type Rational,
  TooLarge,
  ZERO,
} from './rational.ts';

/** Coefficients by monomial; a monomial is written `x^2*y`, and '' is the constant. */
type Polynomial = ReadonlyMap<string, Rational>;

const MAX_TERMS = 500;
const MAX_POWER = 64n;

/**
 * An expression expanded and collected, as `x^2 + 6*x + 9`, or a number as `7/3`; terms fall by degree, then by letters. Null
 * for what is no polynomial with rational coefficients, is not read, or would grow beyond 500 terms.
 */
export function simplifyExpression(text: string): string | null {
  const value = exactArithmetic(text);
  if (value.ok) return formatR(value.value);
  const parsed = parseArithmetic(text);
  if (!parsed.ok || value.reason !== 'has-names') return null;
  try {
    const polynomial = expand(parsed.expression);
    return polynomial === null ? null : format(polynomial);
  } catch (error) {
    if (error instanceof TooLarge) return null;
    throw error;
  }
}

function expand(expression: Arithmetic): Polynomial | null {
  if (expression.kind === 'number') return constant(expression.value);
  if (expression.kind === 'name') return new Map([[`${expression.name}^1`, ONE]]);
  if (expression.kind === 'negated') return scaled(expand(expression.of), negR(ONE));
  const left = expand(expression.left);
  const right = expand(expression.right);
  if (left === null || right === null) return null;
  if (expression.operator === '+') return sum(left, right);
  if (expression.operator === '-') return sum(left, scaled(right, negR(ONE))!);
  if (expression.operator === '*') return product(left, right);
  const number = asConstant(right);
  if (number === null) return null;
  if (expression.operator === '/') return number.p === 0n ? null : scaled(left, inverseR(number));
  if (number.q !== 1n || number.p < 0n || number.p > MAX_POWER) return null;
  let power: Polynomial = constant(ONE);
  for (let i = 0n; i < number.p; i++) power = product(power, left);
  return power;
}

function constant(value: Rational): Polynomial {
  return new Map(value.p === 0n ? [] : [['', value]]);
}

function asConstant(polynomial: Polynomial): Rational | null {
  if (polynomial.size === 0) return ZERO;
  return polynomial.size === 1 ? (polynomial.get('') ?? null) : null;
}

function scaled(polynomial: Polynomial | null, by: Rational): Polynomial | null {
  return polynomial && new Map([...polynomial].map(([monomial, value]) => [monomial, mulR(value, by)]));
}

function sum(a: Polynomial, b: Polynomial): Polynomial {
  const terms = new Map(a);
  for (const [monomial, value] of b) collect(terms, monomial, value);
  return terms;
}

function product(a: Polynomial, b: Polynomial): Polynomial {
  const terms = new Map<string, Rational>();
  for (const [left, x] of a) for (const [right, y] of b) collect(terms, joined(left, right), mulR(x, y));
  return terms;
}

function collect(terms: Map<string, Rational>, monomial: string, value: Rational): void {
  const together = addR(terms.get(monomial) ?? ZERO, value);
  if (together.p === 0n) terms.delete(monomial);
  else terms.set(monomial, together);
  if (terms.size > MAX_TERMS) throw new TooLarge();
}

/** The product of two monomials, letters in order. */
function joined(a: string, b: string): string {
  const powers = new Map<string, number>();
  for (const factor of `${a}*${b}`.split('*').filter((one) => one !== '')) {
    const [name, power] = factor.split('^') as [string, string];
    powers.set(name, (powers.get(name) ?? 0) + Number(power));
  }
  return [...powers]
    .sort(([x], [y]) => (x < y ? -1 : 1))
    .map(([name, power]) => `${name}^${power}`)
    .join('*');
}

function format(polynomial: Polynomial): string {
  const terms = [...polynomial].sort(
    ([a], [b]) => degree(b) - degree(a) || (letters(a) < letters(b) ? -1 : 1),
  );
  if (terms.length === 0) return '0';
  return terms
    .map(([monomial, value], i) => {
      const negative = value.p < 0n;
      const sign = i === 0 ? (negative ? '-' : '') : negative ? ' - ' : ' + ';
      const size = negative ? negR(value) : value;
      const name = monomial.replaceAll('^1*', '*').replace(/\^1$/, '');
      if (name === '') return sign + formatR(size);
      return equalR(size, ONE) ? sign + name : `${sign}${formatR(size)}*${name}`;
    })
    .join('');
}

function degree(monomial: string): number {
  return [...monomial.matchAll(/\^(\d+)/g)].reduce((total, [, power]) => total + Number(power), 0);
}

/** High powers of early letters come first. */
function letters(monomial: string): string {
  return monomial
    .split('*')
    .map((factor) => factor.split('^')[0]!.repeat(Number(factor.split('^')[1] ?? 0)))
    .join('');
}
