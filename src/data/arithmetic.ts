/** Owns the making of arithmetic exercises: sums, differences and products with a worked line. Judges no answer. */

import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import type { Problem } from './problem.ts';

/** What exercises are made; ranges include both ends. */
export interface ArithmeticOptions {
  /** How many different exercises. */
  readonly count: number;
  /** Most digits of a number; default 2. */
  readonly digits?: number | undefined;
  /** Numbers in an exercise; default 2 to 2. */
  readonly terms?: readonly [number, number] | undefined;
  /** Default + and -. */
  readonly operators?: readonly ArithmeticOperator[] | undefined;
  readonly seed: number;
}

/** What numbers are joined by. */
export type ArithmeticOperator = '+' | '-' | '*';

/** Tries for each exercise that is wanted. */
const TRIES = 200;

/**
 * Different exercises such as `12+3*4=`, answers whole and exact, with the worked line `12+3*4=12+12=24` as `solution`.
 * Every number of digits is as likely as another. Throws `too-few-puzzles` where the ranges hold fewer.
 */
export function arithmeticProblems(options: ArithmeticOptions): Problem[] {
  const { count, digits = 2, terms: [fewest, most] = [2, 2], operators = ['+', '-'], seed } = options;
  const found = new Map<string, Problem>();
  for (let i = 0; found.size < count; i++) {
    if (i >= count * TRIES) throw tooFew(count, found.size);
    const rng = new Rng({ seed, purpose: 'arithmetic', step: i });
    const length = fewest + rng.integer(most - fewest + 1);
    const numbers = Array.from({ length }, () => BigInt(rng.integer(10 ** (1 + rng.integer(digits)))));
    const chain = Array.from({ length: length - 1 }, () => rng.pick(operators));
    const problem = exercise(numbers, chain);
    if (!found.has(problem.id)) found.set(problem.id, problem);
  }
  return [...found.values()];
}

function exercise(numbers: readonly bigint[], operators: readonly ArithmeticOperator[]): Problem {
  const states = [written(numbers, operators)];
  let [left, between] = [[...numbers], [...operators]];
  while (left.length > 1) {
    // Products come first, then all from the left.
    const product = between.indexOf('*');
    const at = product < 0 ? 0 : product;
    left = left.toSpliced(at, 2, joined(left[at]!, between[at]!, left[at + 1]!));
    between = between.toSpliced(at, 1);
    states.push(written(left, between));
  }
  const question = `${states[0]}=`;
  return {
    id: `arithmetic/${states[0]}`,
    question,
    reference: states.at(-1)!,
    meta: { solution: states.join('=') },
  };
}

function joined(a: bigint, operator: ArithmeticOperator, b: bigint): bigint {
  if (operator === '+') return a + b;
  return operator === '-' ? a - b : a * b;
}

function written(numbers: readonly bigint[], operators: readonly ArithmeticOperator[]): string {
  return numbers.map((number, i) => `${i === 0 ? '' : operators[i - 1]}${number}`).join('');
}

function tooFew(wanted: number, found: number): ReckonError {
  return new ReckonError(
    'recipe',
    'too-few-puzzles',
    `Expected ${wanted} different exercises in these ranges, found ${found}; raise digits or terms, or lower the count.`,
  );
}
