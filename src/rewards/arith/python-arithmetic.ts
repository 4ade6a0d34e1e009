/**
 * Owns the value that Python (or sympy) gives to an arithmetic expression, for profiles of graders that evaluate answers
 * there. Runs no code, knows no game.
 */

import {
  addR,
  floorR,
  inverseR,
  isInteger,
  mulR,
  negR,
  powR,
  type Rational,
  rational,
  TooLarge,
  toNumber,
} from '../../util/rational.ts';

/** An exact number, or a float where Python would have one. */
export type PythonNumber = Rational | number;

/** Why an expression has no value; Python would raise an error, or never return. */
export type PythonFailure = 'malformed' | 'division-by-zero' | 'too-large' | 'not-real';

export type PythonResult =
  | { readonly ok: true; readonly value: PythonNumber }
  | { readonly ok: false; readonly reason: PythonFailure };

export interface PythonOptions {
  /** What `/` of whole numbers gives: a float as in Python, or the exact quotient as in sympy; default `float`. */
  readonly division?: 'float' | 'exact';
}

/** The longest expression that is read, in UTF-16 code units. */
export const MAX_PYTHON_LENGTH = 2000;
/** Python's own limit on nested parentheses. */
const MAX_DEPTH = 200;

/**
 * The value of an expression of decimal numbers, `+ - * / // **`, signs and parentheses by Python's grammar: whole
 * numbers of any size are exact, `**` binds tighter than a sign on its left. In linear time but for the size of powers,
 * which is bounded; anything else in the text is `malformed`.
 */
export function evaluatePython(text: string, { division = 'float' }: PythonOptions = {}): PythonResult {
  if (text.length > MAX_PYTHON_LENGTH) return { ok: false, reason: 'too-large' };
  try {
    return { ok: true, value: new Evaluator(text, division === 'exact').whole() };
  } catch (error) {
    if (error instanceof Failure) return { ok: false, reason: error.reason };
    if (error instanceof TooLarge) return { ok: false, reason: 'too-large' };
    throw error;
  }
}

/** As a float; infinite beyond its range. */
export function asFloat(value: PythonNumber): number {
  return typeof value === 'number' ? value : toNumber(value);
}

class Failure extends Error {
  readonly reason: PythonFailure;

  constructor(reason: PythonFailure) {
    super(reason);
    this.reason = reason;
  }
}

/** Recursive descent that computes as it reads. */
class Evaluator {
  private readonly text: string;
  private readonly exact: boolean;
  private position = 0;

  constructor(text: string, exact: boolean) {
    this.text = text;
    this.exact = exact;
  }

  whole(): PythonNumber {
    const value = this.sum(0);
    if (this.peek() !== '') throw new Failure('malformed');
    return value;
  }

  private sum(depth: number): PythonNumber {
    let left = this.product(depth);
    for (;;) {
      if (this.take('+')) left = add(left, this.product(depth));
      else if (this.take('-')) left = add(left, negate(this.product(depth)));
      else return left;
    }
  }

  private product(depth: number): PythonNumber {
    let left = this.signed(depth);
    for (;;) {
      if (this.take('//')) left = floored(left, this.signed(depth));
      else if (this.take('/')) left = divide(left, this.signed(depth), this.exact);
      else if (this.peek() === '*' && !this.text.startsWith('**', this.position)) {
        this.position++;
        left = multiply(left, this.signed(depth));
      } else return left;
    }
  }

  private signed(depth: number): PythonNumber {
    let negative = false;
    for (;;) {
      if (this.take('-')) negative = !negative;
      else if (!this.take('+')) break;
    }
    const value = this.power(depth);
    return negative ? negate(value) : value;
  }

  private power(depth: number): PythonNumber {
    const base = this.atom(depth);
    if (!this.take('**')) return base;
    if (depth >= MAX_DEPTH) throw new Failure('malformed');
    return raise(base, this.signed(depth + 1), this.exact);
  }

  private atom(depth: number): PythonNumber {
    if (!this.take('(')) return this.number();
    if (depth >= MAX_DEPTH) throw new Failure('malformed');
    const inner = this.sum(depth + 1);
    if (!this.take(')')) throw new Failure('malformed');
    return inner;
  }

  private number(): PythonNumber {
    this.peek();
    const start = this.position;
    this.digits();
    const whole = this.text.slice(start, this.position);
    if (this.text[this.position] === '.') {
      this.position++;
      this.digits();
      const written = this.text.slice(start, this.position);
      if (written.length === 1) throw new Failure('malformed');
      return Number(written);
    }
    // Python refuses 007 and accepts 000.
    if (whole === '' || (whole.startsWith('0') && /[1-9]/.test(whole))) throw new Failure('malformed');
    return rational(BigInt(whole));
  }

  private digits(): void {
    while (/[0-9]/.test(this.text[this.position] ?? '')) this.position++;
  }

  private take(symbol: string): boolean {
    this.peek();
    if (!this.text.startsWith(symbol, this.position)) return false;
    this.position += symbol.length;
    return true;
  }

  /** The next character that is no space of Python's, or '' at the end. */
  private peek(): string {
    while (' \t\f'.includes(this.text[this.position] ?? 'x')) this.position++;
    return this.text[this.position] ?? '';
  }
}

function negate(a: PythonNumber): PythonNumber {
  return typeof a === 'number' ? -a : negR(a);
}

function add(a: PythonNumber, b: PythonNumber): PythonNumber {
  return typeof a === 'number' || typeof b === 'number' ? asFloat(a) + asFloat(b) : addR(a, b);
}

function multiply(a: PythonNumber, b: PythonNumber): PythonNumber {
  return typeof a === 'number' || typeof b === 'number' ? asFloat(a) * asFloat(b) : mulR(a, b);
}

function divide(a: PythonNumber, b: PythonNumber, exact: boolean): PythonNumber {
  if (isZero(b)) throw new Failure('division-by-zero');
  if (typeof a === 'number' || typeof b === 'number') return asFloat(a) / asFloat(b);
  const quotient = mulR(a, inverseR(b));
  return exact ? quotient : toNumber(quotient);
}

function floored(a: PythonNumber, b: PythonNumber): PythonNumber {
  const quotient = divide(a, b, true);
  return typeof quotient === 'number' ? Math.floor(quotient) : rational(floorR(quotient));
}

function raise(base: PythonNumber, exponent: PythonNumber, exact: boolean): PythonNumber {
  const negative = typeof exponent === 'number' ? exponent < 0 : exponent.p < 0n;
  if (isZero(base) && negative) throw new Failure('division-by-zero');
  if (typeof base !== 'number' && typeof exponent !== 'number' && isInteger(exponent)) {
    const power = powR(base, exponent.p);
    return negative && !exact ? toNumber(power) : power;
  }
  const power = asFloat(base) ** asFloat(exponent);
  // Python goes on with a complex number, which no target is.
  if (Number.isNaN(power)) throw new Failure('not-real');
  return power;
}

function isZero(a: PythonNumber): boolean {
  return typeof a === 'number' ? a === 0 : a.p === 0n;
}
