/** Owns the making of countdown puzzles: numbers, a target, and a way there. Judges no answer. */

import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import type { Problem } from './problem.ts';

/** What puzzles are made; ranges include both ends. */
export interface CountdownOptions {
  /** How many different puzzles. */
  readonly count: number;
  /** Default 3 to 4. */
  readonly numbers?: readonly [number, number] | undefined;
  /** Default 1 to 99. */
  readonly values?: readonly [number, number] | undefined;
  /** Default 10 to 100. */
  readonly target?: readonly [number, number] | undefined;
  readonly seed: number;
}

/** Tries for each puzzle that is wanted, after which the ranges are taken to hold too few. */
const TRIES = 200;

/**
 * Puzzles that can be solved with every number used once, no two with the same numbers and target. Each holds its
 * `numbers` and `target` and, as `solution`, one way there: a line a step, such as `74 - 7 = 67`. Throws `too-few-puzzles`.
 */
export function countdownProblems(options: CountdownOptions): Problem[] {
  const { count, target: [low, high] = [10, 100], seed } = options;
  const found = new Map<string, Problem>();
  for (let i = 0; found.size < count; i++) {
    if (i >= count * TRIES) throw tooFew(count, found.size);
    const way = randomWay(options, new Rng({ seed, purpose: 'countdown', step: i }));
    if (way === null || way.value < low || way.value > high) continue;
    const problem = countdownProblem(way.numbers, way.value, way.expression, way.steps.join('\n'));
    if (!found.has(problem.id)) found.set(problem.id, problem);
  }
  return [...found.values()];
}

/** The puzzle of numbers and a target; its reference is an expression that solves it, or ''. */
export function countdownProblem(
  numbers: readonly number[],
  target: number,
  expression: string,
  solution?: string,
): Problem {
  const sorted = numbers.toSorted((a, b) => a - b);
  return {
    id: `countdown/${sorted.join('-')}=${target}`,
    question: `${numbers.join(' ')} = ${target}`,
    reference: expression,
    meta: { numbers, target, ...(solution === undefined ? {} : { solution }) },
  };
}

interface Way {
  readonly numbers: readonly number[];
  readonly value: number;
  readonly expression: string;
  readonly steps: readonly string[];
}

interface Term {
  readonly value: number;
  readonly text: string;
  /** 1 for sums, 2 for products, 3 for numbers. */
  readonly binding: number;
}

/** Random numbers joined two by two until one is left; null where a step leaves the whole numbers above 0. */
function randomWay(options: CountdownOptions, rng: Rng): Way | null {
  const { numbers: [fewest, most] = [3, 4], values: [smallest, largest] = [1, 99] } = options;
  const numbers = Array.from(
    { length: fewest + rng.integer(most - fewest + 1) },
    () => smallest + rng.integer(largest - smallest + 1),
  );
  let terms: Term[] = numbers.map((value) => ({ value, text: String(value), binding: 3 }));
  const steps: string[] = [];
  while (terms.length > 1) {
    terms = rng.shuffled(terms);
    const [a, b] = [terms[0]!, terms[1]!];
    const joined = join(a, b, rng.pick(['+', '-', '*', '/']));
    if (joined === null) return null;
    steps.push(`${a.value} ${joined.operator} ${b.value} = ${joined.term.value}`);
    terms = [joined.term, ...terms.slice(2)];
  }
  return { numbers: rng.shuffled(numbers), value: terms[0]!.value, expression: terms[0]!.text, steps };
}

function join(a: Term, b: Term, operator: string): { operator: string; term: Term } | null {
  const value = operator === '+' ? a.value + b.value : operator === '-' ? a.value - b.value : null;
  const exact = value ?? (operator === '*' ? a.value * b.value : a.value / b.value);
  if (!Number.isSafeInteger(exact) || exact < 1 || exact > 10_000) return null;
  const binding = operator === '+' || operator === '-' ? 1 : 2;
  const strict = operator === '-' || operator === '/';
  const left = a.binding < binding ? `(${a.text})` : a.text;
  const right = b.binding < binding || (strict && b.binding === binding) ? `(${b.text})` : b.text;
  return { operator, term: { value: exact, text: `${left} ${operator} ${right}`, binding } };
}

function tooFew(wanted: number, found: number): ReckonError {
  return new ReckonError(
    'recipe',
    'too-few-puzzles',
    `Expected ${wanted} different puzzles in these ranges, found ${found}; widen the ranges or lower the count.`,
  );
}
