/** Owns the search for ways to 24 with exact fractions. Knows nothing of problems, traces or completions. */

import {
  add,
  compare,
  divide,
  equal,
  type Fraction,
  formatFraction,
  fraction,
  multiply,
  subtract,
} from '../util/fraction.ts';

export type Operator = '+' | '-' | '*' | '/';

/** One move of the game: `left operator right = value` takes two numbers of the state and puts back one. */
export interface SolutionStep {
  readonly left: Fraction;
  readonly operator: Operator;
  readonly right: Fraction;
  readonly value: Fraction;
  /** Where the two operands stood in the state before the step. */
  readonly leftIndex: number;
  readonly rightIndex: number;
  /** The state after the step: the untouched numbers in their order, then `value`. */
  readonly remaining: readonly Fraction[];
}

/** What the four numbers must make. */
export const TARGET24: Fraction = fraction(24);

/** `left operator right`, or null for a division by zero. */
export function apply(left: Fraction, operator: Operator, right: Fraction): Fraction | null {
  if (operator === '+') return add(left, right);
  if (operator === '-') return subtract(left, right);
  if (operator === '*') return multiply(left, right);
  return divide(left, right);
}

/**
 * Every distinct step from a state, by value: equal pairs count once, + and * once with the larger operand on the
 * left, - and / in both orders where the operands differ. Steps that lead nowhere are included.
 */
export function searchSteps(numbers: readonly Fraction[]): SolutionStep[] {
  const steps: SolutionStep[] = [];
  const seen = new Set<string>();
  for (let i = 0; i < numbers.length; i++) {
    for (let j = i + 1; j < numbers.length; j++) {
      const swap = compare(numbers[i]!, numbers[j]!) < 0;
      const [large, small] = swap ? [j, i] : [i, j];
      const key = `${formatFraction(numbers[large]!)} ${formatFraction(numbers[small]!)}`;
      if (seen.has(key)) continue;
      seen.add(key);
      pushPair(steps, numbers, large, small);
    }
  }
  return steps;
}

function pushPair(steps: SolutionStep[], numbers: readonly Fraction[], large: number, small: number): void {
  const rest = numbers.filter((_, k) => k !== large && k !== small);
  const push = (leftIndex: number, operator: Operator, rightIndex: number): void => {
    const left = numbers[leftIndex]!;
    const right = numbers[rightIndex]!;
    const value = apply(left, operator, right);
    if (value === null) return;
    steps.push({ left, operator, right, value, leftIndex, rightIndex, remaining: [...rest, value] });
  };
  push(large, '+', small);
  push(large, '*', small);
  push(large, '-', small);
  push(large, '/', small);
  if (equal(numbers[large]!, numbers[small]!)) return;
  push(small, '-', large);
  push(small, '/', large);
}

/** Whether a state can still become 24, by complete search; a state of one number must be 24 itself. */
export function canReach24(numbers: readonly Fraction[]): boolean {
  if (numbers.length < 2) return numbers.length === 1 && equal(numbers[0]!, TARGET24);
  for (let i = 0; i < numbers.length; i++) {
    for (let j = i + 1; j < numbers.length; j++) {
      const rest = numbers.filter((_, k) => k !== i && k !== j);
      for (const value of results(numbers[i]!, numbers[j]!)) {
        if (rest.length === 0 ? equal(value, TARGET24) : canReach24([...rest, value])) return true;
      }
    }
  }
  return false;
}

/** The up to six values that two numbers make, in either order. */
function results(a: Fraction, b: Fraction): Fraction[] {
  const values = [add(a, b), multiply(a, b), subtract(a, b), subtract(b, a)];
  const over = divide(a, b);
  const under = divide(b, a);
  if (over !== null) values.push(over);
  if (under !== null) values.push(under);
  return values;
}

/**
 * The distinct step sequences that turn whole numbers into 24, at most `limit`, always in the same order. Sequences
 * that differ only in the order of independent steps count as different. Empty where there is no solution.
 */
export function solutions(
  numbers: readonly number[],
  limit: number = Number.POSITIVE_INFINITY,
): SolutionStep[][] {
  const found: SolutionStep[][] = [];
  const descend = (state: readonly Fraction[], path: readonly SolutionStep[]): void => {
    for (const step of searchSteps(state)) {
      if (found.length >= limit) return;
      if (step.remaining.length === 1) {
        if (equal(step.value, TARGET24)) found.push([...path, step]);
      } else if (canReach24(step.remaining)) {
        descend(step.remaining, [...path, step]);
      }
    }
  };
  descend(
    numbers.map((n) => fraction(n)),
    [],
  );
  return found;
}

/** The steps written as one expression with no needless parentheses, such as '8/(3-8/3)'. */
export function expressionOf(numbers: readonly number[], steps: readonly SolutionStep[]): string {
  let terms = numbers.map((n) => ({ text: String(n), binding: 3 }));
  for (const { leftIndex, operator, rightIndex } of steps) {
    const left = terms[leftIndex]!;
    const right = terms[rightIndex]!;
    const binding = operator === '+' || operator === '-' ? 1 : 2;
    const strict = operator === '-' || operator === '/';
    const leftText = left.binding < binding ? `(${left.text})` : left.text;
    const rightText =
      right.binding < binding || (strict && right.binding === binding) ? `(${right.text})` : right.text;
    terms = terms.filter((_, k) => k !== leftIndex && k !== rightIndex);
    terms.push({ text: `${leftText}${operator}${rightText}`, binding });
  }
  return terms.map((term) => term.text).join(' ');
}
