/**
 * Owns the scores that published graders of arithmetic puzzles give, each as its code computes them, faults included: for
 * comparison with their numbers, not for training. Knows nothing of our own judging.
 */

import { lastTagged } from '../../text/tags.ts';
import type { ArithmeticPuzzle, GradedArithmetic } from './graded-arithmetic.ts';
import { asFloat, evaluatePython, type PythonNumber } from './python-arithmetic.ts';

/**
 * TinyZero's countdown score: the last `<answer>` on the last line after the first `Assistant:` (or
 * `<|im_start|>assistant`); 0 without one, 0.1 for any other answer, 1 where the runs of digits in it are the given numbers
 * and Python's value is within 1e-5 of the target. Accepts `3**2*1`, `12//5*3` and `1.5*2*3`.
 */
export function gradeTinyZero(completion: string, { numbers, target }: ArithmeticPuzzle): GradedArithmetic {
  const said = afterFirst(completion, 'Assistant:') ?? afterFirst(completion, '<|im_start|>assistant');
  const answer = said === null ? null : lastTagged(said.split('\n').at(-1)!, 'answer')?.trim();
  if (answer === null || answer === undefined) return graded(0, 'no-answer', '');
  if (!sameNumbers(digitRuns(answer), numbers)) return graded(0.1, 'wrong-numbers', answer);
  const result = evaluatePython(answer);
  if (!result.ok) return graded(0.1, result.reason, answer);
  const near = Math.abs(asFloat(result.value) - target) < 1e-5;
  return near ? graded(1, 'correct', answer) : graded(0.1, 'wrong-value', answer);
}

/**
 * Tree of Thoughts' test of the 24 game: the last line without `answer: ` up to the first `=`; 1 where its runs of digits
 * are the given numbers and sympy's value is the target.
 */
export function gradeTreeOfThoughts(
  completion: string,
  { numbers, target }: ArithmeticPuzzle,
): GradedArithmetic {
  const line = completion.trim().split('\n').at(-1)!.toLowerCase();
  const expression = line.replaceAll('answer: ', '').split('=')[0]!;
  const given = numbers.map(String).sort();
  const used = (expression.match(/[0-9]+/g) ?? []).sort();
  if (used.join() !== given.join()) return graded(0, 'wrong-numbers', expression);
  const result = evaluatePython(expression.trim(), { division: 'exact' });
  if (!result.ok) return graded(0, result.reason, expression);
  return isExactly(result.value, target)
    ? graded(1, 'correct', expression)
    : graded(0, 'wrong-value', expression);
}

/** reasoning-gym's countdown: 1, 0.05 for an expression of other numbers or value, 0.01 for none. */
export function gradeReasoningGymCountdown(
  answer: string,
  { numbers, target }: ArithmeticPuzzle,
): GradedArithmetic {
  const result = evaluatePython(answer.trim(), { division: 'exact' });
  if (!result.ok) return graded(0.01, answer.trim() === '' ? 'no-answer' : result.reason, answer);
  const used = (answer.match(/\b[0-9]+\b/g) ?? []).map(Number);
  if (!sameNumbers(used, numbers)) return graded(0.05, 'wrong-numbers', answer);
  const near = Math.abs(asFloat(result.value) - target) <= 1e-6 + 1e-5 * Math.abs(target);
  return near ? graded(1, 'correct', answer) : graded(0.05, 'wrong-value', answer);
}

/** reasoning-gym's puzzle24: 1 for four numbers of 1 to 10, whichever, whose value cut to a whole number is 24; else 0.01. */
export function gradeReasoningGym24(answer: string): GradedArithmetic {
  const result = evaluatePython(answer.trim(), { division: 'exact' });
  if (!result.ok) return graded(0.01, answer.trim() === '' ? 'no-answer' : result.reason, answer);
  const used = (answer.match(/\b[0-9]+\b/g) ?? []).map(Number);
  if (used.length !== 4 || used.some((number) => number < 1 || number > 10))
    return graded(0.01, 'wrong-numbers', answer);
  return Math.trunc(asFloat(result.value)) === 24
    ? graded(1, 'correct', answer)
    : graded(0.01, 'wrong-value', answer);
}

function graded(score: number, reason: string, extracted: string): GradedArithmetic {
  return { verdict: reason === 'correct' ? 'correct' : 'incorrect', score, reason, extracted };
}

function afterFirst(text: string, mark: string): string | null {
  const at = text.indexOf(mark);
  return at < 0 ? null : text.slice(at + mark.length);
}

function digitRuns(text: string): number[] {
  return (text.match(/[0-9]+/g) ?? []).map(Number);
}

function sameNumbers(a: readonly number[], b: readonly number[]): boolean {
  const sorted = (list: readonly number[]) => list.toSorted((x, y) => x - y).join();
  return sorted(a) === sorted(b);
}

function isExactly(value: PythonNumber, target: number): boolean {
  if (typeof value === 'number') return value === target;
  return value.q === 1n && Number.isInteger(target) && value.p === BigInt(target);
}
