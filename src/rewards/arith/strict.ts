/**
 * Owns our own judging of arithmetic puzzles (24 game, countdown): exact fractions, each number exactly once, nothing but
 * + - * / and parentheses. Knows no task and no other grader's rules.
 */

import { braceEnds } from '../../text/braces.ts';
import { lastTagged } from '../../text/tags.ts';
import { ReckonError } from '../../util/errors.ts';
import { addR, equalR, inverseR, mulR, negR, type Rational, rational } from '../../util/rational.ts';
import { type Expression, numbersIn, type ParseFailure, parseExpression } from '../game24.ts';
import type { Judgement } from '../reward.ts';
import type { ArithmeticPuzzle, GradedArithmetic } from './graded-arithmetic.ts';

/** The reasons of `judgeExpression`. */
export type ArithmeticReason =
  | 'correct'
  | 'wrong-value'
  | 'wrong-numbers'
  | 'division-by-zero'
  | ParseFailure;

export interface StrictOptions {
  /** Whether each number must be used once (default), or may be used once. */
  readonly use?: 'all' | 'some';
}

/**
 * Judges one expression by the grammar of `parseExpression` and exact arithmetic of any size. Never throws on any text and
 * is never unverifiable; throws `bad-target` for a target that is no whole number.
 */
export function judgeExpression(
  { numbers, target }: ArithmeticPuzzle,
  text: string,
  { use = 'all' }: StrictOptions = {},
): Judgement & { readonly reason: ArithmeticReason } {
  const say = (reason: ArithmeticReason) =>
    ({
      verdict: reason === 'correct' ? 'correct' : 'incorrect',
      reason,
      extracted: text.slice(0, 200),
    }) as const;
  if (!Number.isSafeInteger(target)) throw wrongTarget(target);
  const parsed = parseExpression(text);
  if (!parsed.ok) return say(parsed.reason);
  if (!keepsTo(numbers, numbersIn(parsed.expression), use)) return say('wrong-numbers');
  const value = exactValue(parsed.expression);
  if (value === null) return say('division-by-zero');
  return say(equalR(value, rational(target)) ? 'correct' : 'wrong-value');
}

function wrongTarget(target: number): ReckonError {
  return new ReckonError('data', 'bad-target', `expected a whole number as target, found ${target}`);
}

/** Finds the answer in a completion (`findExpression`) and judges it; the score is 1 or 0. */
export function gradeStrict(
  completion: string,
  puzzle: ArithmeticPuzzle,
  options: StrictOptions = {},
): GradedArithmetic {
  const found = findExpression(completion);
  if (found === null) return { verdict: 'incorrect', score: 0, reason: 'no-answer', extracted: '' };
  const judged = judgeExpression(puzzle, found, options);
  return { ...judged, score: Number(judged.verdict === 'correct') };
}

/** The exact value of an expression; null where it divides by zero. */
export function exactValue(expression: Expression): Rational | null {
  if (expression.kind === 'number') return rational(expression.value);
  const left = exactValue(expression.left);
  const right = exactValue(expression.right);
  if (left === null || right === null) return null;
  switch (expression.operator) {
    case '+':
      return addR(left, right);
    case '-':
      return addR(left, negR(right));
    case '*':
      return mulR(left, right);
    case '/':
      return right.p === 0n ? null : mulR(left, inverseR(right));
  }
}

/**
 * The expression that a completion answers with: what the last `<answer>` holds, else the last `\boxed{}`, else what
 * follows the last `answer:`, `expression:` or line that begins with `#`, else the last line. Text after the first `=` is
 * a claim about its value and is left out; operators may be written as in print or LaTeX.
 */
export function findExpression(completion: string): string | null {
  const place = answerPlace(completion.slice(-MAX_TAIL));
  if (place === null) return null;
  const expression = plainOperators(place.split('=')[0]!).trim();
  return expression === '' ? null : expression;
}

/** An answer stands at the end; what is further away than this is not looked for. */
const MAX_TAIL = 20_000;

function answerPlace(text: string): string | null {
  const tagged = lastTagged(text, 'answer');
  if (tagged !== null) return tagged;
  const boxed = lastBoxed(text);
  if (boxed !== null) return boxed;
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  for (const line of lines.toReversed()) {
    const marked = afterMark(line);
    if (marked !== null) return marked;
  }
  return lines.at(-1) ?? null;
}

function afterMark(line: string): string | null {
  const lower = line.toLowerCase();
  for (const mark of ['answer:', 'expression:']) {
    const at = lower.lastIndexOf(mark);
    if (at >= 0) return line.slice(at + mark.length);
  }
  return line.startsWith('#') ? line.replace(/^#{1,8}/, '') : null;
}

/** Of the last `\boxed{` alone: where that was cut off, an expression that was boxed before it is not the answer. */
function lastBoxed(text: string): string | null {
  const start = text.lastIndexOf('\\boxed{');
  const end = start < 0 ? undefined : braceEnds(text).get(start + 6);
  return end === undefined ? null : text.slice(start + 7, end);
}

function plainOperators(text: string): string {
  return text
    .replace(/\\times|\\cdot|[×·⋅∙]/g, '*')
    .replace(/\\div|÷/g, '/')
    .replace(/[−–]/g, '-')
    .replace(/\\left\(/g, '(')
    .replace(/\\right\)/g, ')')
    .replace(/\\[,;! ]|\$|\u00a0/g, ' ');
}

function keepsTo(numbers: readonly number[], used: readonly number[], use: 'all' | 'some'): boolean {
  const left = new Map<number, number>();
  for (const number of numbers) left.set(number, (left.get(number) ?? 0) + 1);
  for (const number of used) {
    const count = left.get(number) ?? 0;
    if (count === 0) return false;
    left.set(number, count - 1);
  }
  return use === 'some' || used.length === numbers.length;
}
