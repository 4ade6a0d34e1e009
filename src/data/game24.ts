/** Owns the puzzles of the 24 game and their split. Knows nothing of prompts, traces or how answers are judged. */

import { ReckonError } from '../util/errors.ts';
import { fraction } from '../util/fraction.ts';
import { Rng } from '../util/rng.ts';
import { TREE_OF_THOUGHTS_TEST } from './game24-ranks.ts';
import { canReach24 } from './game24-solver.ts';
import type { Problem } from './problem.ts';

/** The largest number on a card. */
export const LARGEST_CARD = 13;

/** Disjoint parts of the solvable puzzles, each in a shuffled order that the split seed fixes. */
export interface Game24Split {
  readonly train: readonly Problem[];
  readonly validation: readonly Problem[];
  readonly test: readonly Problem[];
}

/** How to split; sizes count problems, and what is left is `train`. */
export interface Game24SplitOptions {
  /**
   * `default`: 1,162 / 100 / 100; `seed3`: 1,262 to train on, 100 to test on and none between; `tot`: Tree of Thoughts'
   * test, ranks 901 to 1000, the others as in the default.
   */
  readonly named?: 'default' | 'seed3' | 'tot';
  /** Default 24. */
  readonly seed?: number;
  /** Default 100. */
  readonly test?: number;
  /** Default 100; of `seed3` 0. */
  readonly validation?: number;
}

let solvable: readonly Problem[] | undefined;

/** All 1,820 multisets of four numbers 1 to 13, each in rising order. */
export function allHands(): number[][] {
  const hands: number[][] = [];
  for (let a = 1; a <= LARGEST_CARD; a++)
    for (let b = a; b <= LARGEST_CARD; b++)
      for (let c = b; c <= LARGEST_CARD; c++)
        for (let d = c; d <= LARGEST_CARD; d++) hands.push([a, b, c, d]);
  return hands;
}

/** The puzzle of four whole numbers, whatever their order; its id and question hold them in rising order. */
export function game24Problem(numbers: readonly number[]): Problem {
  const sorted = [...numbers].sort((a, b) => a - b);
  return {
    id: `game24/${sorted.join('-')}`,
    question: sorted.join(' '),
    reference: '24',
    meta: { numbers: sorted },
  };
}

/** The 1,362 puzzles that have a solution, found once per process by exact search, in rising order. */
export function game24Problems(): readonly Problem[] {
  solvable ??= allHands()
    .filter((hand) => canReach24(hand.map((n) => fraction(n))))
    .map(game24Problem);
  return solvable;
}

/** The numbers of a puzzle in rising order. Throws `not-game24` for another task's problem. */
export function numbersOf(problem: Problem): readonly number[] {
  const numbers = problem.meta['numbers'];
  if (Array.isArray(numbers) && numbers.length > 0 && numbers.every(Number.isSafeInteger)) return numbers;
  throw new ReckonError(
    'data',
    'not-game24',
    `Expected whole numbers in meta.numbers of ${problem.id}, found ${JSON.stringify(numbers)}; make it with game24Problem.`,
  );
}

/** The numbers of a puzzle in a random order, as a prompt shows them. */
export function shuffledNumbers(problem: Problem, rng: Rng): number[] {
  return rng.shuffled(numbersOf(problem));
}

/**
 * The solvable puzzles split into train, validation and test, from the seed alone. The test part does not depend on
 * the size of the validation part. Throws `split-size` where nothing would be left to train on.
 */
export function splitGame24(options: Game24SplitOptions = {}): Game24Split {
  const { named = 'default', seed = 24 } = options;
  const { test = 100, validation = named === 'seed3' ? 0 : 100 } = options;
  const problems = game24Problems();
  const whole = Number.isInteger(test) && Number.isInteger(validation) && test >= 0 && validation >= 0;
  if (!whole || test + validation >= problems.length) {
    throw new ReckonError(
      'recipe',
      'split-size',
      `Expected test and validation sizes that leave some of ${problems.length} puzzles to train on, found ${test} and ${validation}; lower them.`,
    );
  }
  const shuffled = new Rng({ seed, purpose: 'split', id: 'game24' }).shuffled(problems);
  if (named === 'tot') return splitByRank(shuffled, validation);
  return {
    test: shuffled.slice(0, test),
    validation: shuffled.slice(test, test + validation),
    train: shuffled.slice(test + validation),
  };
}

function splitByRank(shuffled: readonly Problem[], validation: number): Game24Split {
  const byId = new Map(shuffled.map((problem) => [problem.id, problem]));
  const test = TREE_OF_THOUGHTS_TEST.map((id) => byId.get(id)!);
  const held = new Set(TREE_OF_THOUGHTS_TEST);
  const rest = shuffled.filter(({ id }) => !held.has(id));
  return { test, validation: rest.slice(0, validation), train: rest.slice(validation) };
}
