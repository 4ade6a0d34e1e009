/** Owns the strict verifier of the 24 game. Judges one expression; how it is found in a completion is not its concern. */

import { apply, type Operator, TARGET24 } from '../data/game24-solver.ts';
import { ReckonError } from '../util/errors.ts';
import { equal, type Fraction, fraction } from '../util/fraction.ts';
import type { Judgement } from './reward.ts';

/** An arithmetic expression over whole numbers. */
export type Expression =
  | { readonly kind: 'number'; readonly value: number }
  | {
      readonly kind: 'binary';
      readonly operator: Operator;
      readonly left: Expression;
      readonly right: Expression;
    };

/** Why a text is not an expression; `too-long` is also said of parentheses that nest too deeply. */
export type ParseFailure = 'no-answer' | 'too-long' | 'malformed';

/** What parsing gave: the expression, or the reason why there is none. */
export type ParseResult =
  | { readonly ok: true; readonly expression: Expression }
  | { readonly ok: false; readonly reason: ParseFailure };

/** The reasons of `judgeGame24`; `overflow` alone is unverifiable, and cannot happen with numbers up to 13. */
export type Game24Reason =
  | 'correct'
  | 'not-24'
  | 'wrong-numbers'
  | 'division-by-zero'
  | 'overflow'
  | ParseFailure;

/** The longest text that is looked at, in UTF-16 code units. */
export const MAX_EXPRESSION_LENGTH = 200;
/** The deepest nesting of parentheses. */
export const MAX_EXPRESSION_DEPTH = 32;

/**
 * Judges an expression against the given numbers with exact fractions: each number exactly once, joined by + - * /
 * and parentheses, spaces between tokens allowed, and nothing else. Never throws on any text.
 */
export function judgeGame24(numbers: readonly number[], expressionText: string): Judgement {
  const reason = reasonFor(numbers, expressionText);
  const verdict = reason === 'correct' ? 'correct' : reason === 'overflow' ? 'unverifiable' : 'incorrect';
  return { verdict, reason, extracted: expressionText.slice(0, MAX_EXPRESSION_LENGTH) };
}

function reasonFor(numbers: readonly number[], text: string): Game24Reason {
  const parsed = parseExpression(text);
  if (!parsed.ok) return parsed.reason;
  if (!sameMultiset(numbers, numbersIn(parsed.expression))) return 'wrong-numbers';
  try {
    const value = evaluate(parsed.expression);
    if (value === null) return 'division-by-zero';
    return equal(value, TARGET24) ? 'correct' : 'not-24';
  } catch (error) {
    if (error instanceof ReckonError && error.code === 'fraction-overflow') return 'overflow';
    throw error;
  }
}

/** The exact value of an expression, or null where it divides by zero. Throws `fraction-overflow` beyond 2^53 - 1. */
export function evaluate(expression: Expression): Fraction | null {
  if (expression.kind === 'number') return fraction(expression.value);
  const left = evaluate(expression.left);
  const right = evaluate(expression.right);
  if (left === null || right === null) return null;
  return apply(left, expression.operator, right);
}

/** The numbers of an expression, left to right. */
export function numbersIn(expression: Expression): number[] {
  if (expression.kind === 'number') return [expression.value];
  return [...numbersIn(expression.left), ...numbersIn(expression.right)];
}

function sameMultiset(a: readonly number[], b: readonly number[]): boolean {
  const byValue = (x: number, y: number): number => x - y;
  const sortedA = [...a].sort(byValue);
  const sortedB = [...b].sort(byValue);
  return sortedA.length === sortedB.length && sortedA.every((value, i) => value === sortedB[i]);
}

/**
 * Parses `sum = product (('+'|'-') product)*`, `product = atom (('*'|'/') atom)*`, `atom = number | '(' sum ')'` in
 * linear time. A number is ASCII digits without a leading zero, at most 15 of them; the only space is U+0020; there
 * is no sign, power, float, implicit product or trailing text.
 */
export function parseExpression(text: string): ParseResult {
  if (text.length > MAX_EXPRESSION_LENGTH) return { ok: false, reason: 'too-long' };
  const parser = new Parser(text);
  if (parser.atEnd()) return { ok: false, reason: 'no-answer' };
  const expression = parser.sum(0);
  if (expression !== null && parser.atEnd()) return { ok: true, expression };
  return { ok: false, reason: parser.tooDeep ? 'too-long' : 'malformed' };
}

/** Recursive descent; a method returns null where the text does not fit, and the whole parse then fails. */
class Parser {
  tooDeep = false;
  private readonly text: string;
  private position = 0;

  constructor(text: string) {
    this.text = text;
  }

  atEnd(): boolean {
    return this.peek() === '';
  }

  sum(depth: number): Expression | null {
    return this.chain('+', '-', () => this.product(depth));
  }

  private product(depth: number): Expression | null {
    return this.chain('*', '/', () => this.atom(depth));
  }

  /** Operands joined by two operators of one precedence, to the left. */
  private chain(one: Operator, other: Operator, operand: () => Expression | null): Expression | null {
    let left = operand();
    while (left !== null) {
      const operator = this.peek();
      if (operator !== one && operator !== other) return left;
      this.position++;
      const right = operand();
      left = right === null ? null : { kind: 'binary', operator, left, right };
    }
    return null;
  }

  private atom(depth: number): Expression | null {
    if (this.peek() !== '(') return this.number();
    if (depth >= MAX_EXPRESSION_DEPTH) {
      this.tooDeep = true;
      return null;
    }
    this.position++;
    const inner = this.sum(depth + 1);
    if (inner === null || this.peek() !== ')') return null;
    this.position++;
    return inner;
  }

  private number(): Expression | null {
    const start = this.position;
    while (isDigit(this.text.charCodeAt(this.position))) this.position++;
    const digits = this.text.slice(start, this.position);
    if (digits.length === 0 || digits.length > 15) return null;
    if (digits.length > 1 && digits.startsWith('0')) return null;
    return { kind: 'number', value: Number(digits) };
  }

  /** The next character that is not a space, or '' at the end. */
  private peek(): string {
    while (this.text.charCodeAt(this.position) === 0x20) this.position++;
    return this.text.charAt(this.position);
  }
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}
