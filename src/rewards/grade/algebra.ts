/** Owns exact algebra: sums of products of atoms with rational exponents, over one another. Knows no LaTeX. */

import {
  addR,
  compareR,
  floorR,
  formatR,
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

/** An atom with its exponent. A whole number's root is the atom `#n` with an exponent between 0 and 1. */
type Power = readonly [atom: string, exponent: Rational];

/** A coefficient times atoms, sorted by name. */
export interface Term {
  readonly coefficient: Rational;
  readonly powers: readonly Power[];
}

/** A sum of terms by the key of their atoms; no coefficient is 0. */
export type Polynomial = ReadonlyMap<string, Term>;

/** A quotient of two sums. */
export interface Quotient {
  readonly top: Polynomial;
  readonly bottom: Polynomial;
}

const MAX_TERMS = 600;
const MAX_POWER = 40;
/** Names of atoms hold what they are made of, so nested ones can double at every level. */
const MAX_NAME = 5000;

const NONE: Polynomial = new Map();

export function constant(value: Rational): Polynomial {
  return value.p === 0n ? NONE : new Map([['', { coefficient: value, powers: [] }]]);
}

export const UNIT: Polynomial = constant(ONE);

export function whole(top: Polynomial): Quotient {
  return { top, bottom: UNIT };
}

/** The atom to a rational power, as a polynomial. */
export function atom(name: string, exponent: Rational = ONE): Polynomial {
  if (name.length > MAX_NAME) throw new TooLarge();
  return normal(ONE, [[name, exponent]]);
}

/** The value of a polynomial without atoms, or null. */
export function numberIn(polynomial: Polynomial): Rational | null {
  if (polynomial.size === 0) return ZERO;
  const term = polynomial.get('');
  return polynomial.size === 1 && term !== undefined ? term.coefficient : null;
}

/** The value of a quotient without atoms, or null. */
export function rationalValue({ top, bottom }: Quotient): Rational | null {
  const [p, q] = [numberIn(top), numberIn(bottom)];
  return p === null || q === null || q.p === 0n ? null : rational(p.p * q.q, p.q * q.p);
}

function addP(a: Polynomial, b: Polynomial): Polynomial {
  const sum = new Map(a);
  for (const [key, term] of b) {
    const coefficient = addR(sum.get(key)?.coefficient ?? ZERO, term.coefficient);
    if (coefficient.p === 0n) sum.delete(key);
    else sum.set(key, { coefficient, powers: term.powers });
  }
  if (sum.size > MAX_TERMS) throw new TooLarge();
  return sum;
}

export function mulP(a: Polynomial, b: Polynomial): Polynomial {
  if (a.size * b.size > MAX_TERMS * 20) throw new TooLarge();
  let product = NONE;
  for (const one of a.values()) {
    let row = NONE;
    for (const other of b.values())
      row = addP(row, normal(mulR(one.coefficient, other.coefficient), [...one.powers, ...other.powers]));
    product = addP(product, row);
  }
  return product;
}

export function addQ(a: Quotient, b: Quotient): Quotient {
  if (sameP(a.bottom, b.bottom)) return { top: addP(a.top, b.top), bottom: a.bottom };
  return { top: addP(mulP(a.top, b.bottom), mulP(b.top, a.bottom)), bottom: mulP(a.bottom, b.bottom) };
}

export function mulQ(a: Quotient, b: Quotient): Quotient {
  return { top: mulP(a.top, b.top), bottom: mulP(a.bottom, b.bottom) };
}

/** 1 / a: a single term goes to the top with negative exponents. Throws RangeError at 0. */
export function inverseQ({ top, bottom }: Quotient): Quotient {
  if (top.size === 0) throw new RangeError('division by zero');
  const only = top.size === 1 ? [...top.values()][0]! : null;
  if (only === null) return { top: bottom, bottom: top };
  return whole(mulP(bottom, termPower(only, rational(-1))));
}

/** a to a whole power; large powers of sums throw TooLarge. */
export function powQ(a: Quotient, exponent: bigint): Quotient {
  if (exponent < 0n) return powQ(inverseQ(a), -exponent);
  return { top: powP(a.top, exponent), bottom: powP(a.bottom, exponent) };
}

function powP(a: Polynomial, exponent: bigint): Polynomial {
  if (exponent === 0n) return UNIT;
  if (a.size === 0) return NONE;
  if (a.size === 1) return termPower([...a.values()][0]!, rational(exponent));
  if (exponent > BigInt(MAX_POWER)) throw new TooLarge();
  let result = UNIT;
  for (let i = 0n; i < exponent; i++) result = mulP(result, a);
  return result;
}

function termPower({ coefficient, powers }: Term, exponent: Rational): Polynomial {
  const raised = isInteger(exponent) ? powR(coefficient, exponent.p) : ONE;
  return normal(
    raised,
    powers.map(([name, own]) => [name, mulR(own, exponent)]),
  );
}

/** Whether two quotients are the same, by cross multiplication. */
export function sameQ(a: Quotient, b: Quotient): boolean {
  if (sameP(a.bottom, b.bottom)) return sameP(a.top, b.top);
  return sameP(mulP(a.top, b.bottom), mulP(b.top, a.bottom));
}

function sameP(a: Polynomial, b: Polynomial): boolean {
  if (a.size !== b.size) return false;
  for (const [key, term] of a) {
    const other = b.get(key);
    if (other === undefined || compareR(other.coefficient, term.coefficient) !== 0) return false;
  }
  return true;
}

/** A name for a quotient, the same for equal ones wherever no common factor was left in. */
export function keyOf({ top, bottom }: Quotient): string {
  const lead = [...bottom.keys()].sort()[0];
  const scale =
    lead === undefined ? ONE : rational(bottom.get(lead)!.coefficient.q, bottom.get(lead)!.coefficient.p);
  return `${keyP(top, scale)}${numberIn(bottom) === null ? `/(${keyP(bottom, scale)})` : ''}`;
}

function keyP(polynomial: Polynomial, scale: Rational): string {
  const parts = [...polynomial.keys()]
    .sort()
    .map((key) => `${formatR(mulR(polynomial.get(key)!.coefficient, scale))}${key === '' ? '' : `*${key}`}`);
  if (parts.reduce((length, part) => length + part.length, 0) > 20 * MAX_NAME) throw new TooLarge();
  return parts.length === 0 ? '0' : parts.join('+');
}

/** The atoms in a quotient. */
export function atomsOf({ top, bottom }: Quotient): Set<string> {
  const names = new Set<string>();
  for (const part of [top, bottom])
    for (const term of part.values()) for (const [name] of term.powers) names.add(name);
  return names;
}

/** One term brought into its normal form: equal atoms joined, whole powers of numbers and of i taken out. */
function normal(coefficient: Rational, powers: readonly Power[]): Polynomial {
  const joined = new Map<string, Rational>();
  for (const [name, exponent] of powers) joined.set(name, addR(joined.get(name) ?? ZERO, exponent));
  let factor = coefficient;
  for (const [name, exponent] of joined) {
    if (exponent.p === 0n) {
      joined.delete(name);
      continue;
    }
    const base = name === 'i' ? null : name.startsWith('#') ? BigInt(name.slice(1)) : undefined;
    if (base === undefined || (base === null && !isInteger(exponent))) continue;
    if (base === null) {
      const turns = ((exponent.p % 4n) + 4n) % 4n;
      if (turns >= 2n) factor = negR(factor);
      if (turns % 2n === 0n) joined.delete(name);
      else joined.set(name, ONE);
      continue;
    }
    const taken = floorR(exponent);
    factor = mulR(factor, powR(rational(base), taken));
    const rest = addR(exponent, rational(-taken));
    if (rest.p === 0n) joined.delete(name);
    else joined.set(name, rest);
  }
  if (factor.p === 0n) return NONE;
  const sorted = [...joined].sort(([a], [b]) => (a < b ? -1 : 1));
  const key = sorted
    .map(([name, exponent]) => (compareR(exponent, ONE) === 0 ? name : `${name}^${formatR(exponent)}`))
    .join('*');
  return new Map([[key, { coefficient: factor, powers: sorted }]]);
}

/** The prime powers of a positive rational, those of its denominator with negative counts. */
export function factorise({ p, q }: Rational): (readonly [prime: bigint, count: number])[] {
  return [...primePowers(p), ...primePowers(q).map(([prime, count]) => [prime, -count] as const)];
}

/** Up to a bound on the work; what is left over counts as one prime. */
function primePowers(n: bigint): (readonly [prime: bigint, count: number])[] {
  const found: [bigint, number][] = [];
  let rest = n;
  for (let prime = 2n; prime * prime <= rest && prime < 20_000n; prime += prime === 2n ? 1n : 2n) {
    let count = 0;
    while (rest % prime === 0n) {
      rest /= prime;
      count++;
    }
    if (count > 0) found.push([prime, count]);
  }
  if (rest > 1n) found.push([rest, 1]);
  return found;
}
