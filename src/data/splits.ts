/** Owns how problems become train, validation and test: by expression, or drawn by seed. Reads no file. */

import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import type { Problem } from './problem.ts';
import { selectSplit } from './split-expression.ts';

/** Disjoint parts of a data set. */
export interface ProblemSplits {
  readonly train: readonly Problem[];
  readonly validation: readonly Problem[];
  readonly test: readonly Problem[];
}

/** The name of a part. */
export type SplitName = keyof ProblemSplits;

/** Which problems make a part: a split expression, or how many to draw by seed from what is left to train on. */
export interface SplitPlan {
  /** Default `train`. */
  readonly train?: string | undefined;
  /** Default: the data's own validation split, else a tenth, at most 500. */
  readonly validation?: string | number | undefined;
  /** Default: the data's own test split, else a tenth, at most 500. */
  readonly test?: string | number | undefined;
}

const DRAWN_AT_MOST = 500;

/**
 * Train, validation and test of a data set. Held-out problems that an expression names leave the train part if it
 * is not named by the recipe; numbers are drawn from the train part in an order that the seed fixes, the test part first.
 * Throws `splits-overlap` where two expressions name the same problem and `split-size` where nothing is left to train on.
 */
export function planSplits(
  data: ReadonlyMap<string, readonly Problem[]>,
  plan: SplitPlan,
  seed: number,
): ProblemSplits {
  const trainName = plan.train ?? (data.has('train') ? 'train' : 'all');
  const rest = selectSplit(data, trainName);
  const named: Partial<Record<'validation' | 'test', readonly Problem[]>> = {};
  for (const part of ['test', 'validation'] as const) {
    const wanted = plan[part] ?? (data.has(part) && trainName !== 'all' ? part : undefined);
    if (typeof wanted === 'string') named[part] = selectSplit(data, wanted);
  }
  const held = new Set([...(named.test ?? []), ...(named.validation ?? [])].map(({ id }) => id));
  const left = plan.train === undefined ? rest.filter(({ id }) => !held.has(id)) : rest;
  const pool = new Rng({ seed, purpose: 'split' }).shuffled(left);
  const tenth = Math.min(DRAWN_AT_MOST, Math.floor(left.length / 10));
  const wanted = (part: 'validation' | 'test'): number => {
    const said = plan[part];
    return named[part]?.length ?? (typeof said === 'number' ? said : tenth);
  };
  const drawn = (part: 'validation' | 'test'): readonly Problem[] =>
    named[part] ?? pool.splice(0, wanted(part));
  const test = drawn('test');
  const validation = drawn('validation');
  const splits = { train: inOrderOf(left, pool), validation, test };
  refuseEmpty(splits.train, left.length, { validation: wanted('validation'), test: wanted('test') });
  refuseOverlap(splits);
  return splits;
}

/**
 * `size` problems drawn by seed; a larger subset of the same seed holds every smaller one. Throws `subset-size` where
 * there are not so many.
 */
export function subsetOf<T>(items: readonly T[], size: number, seed: number): T[] {
  if (size > items.length) {
    throw new ReckonError(
      'recipe',
      'subset-size',
      `Expected a subset of at most ${items.length} problems, found ${size}; lower it, or leave it out to take all.`,
    );
  }
  return new Rng({ seed, purpose: 'subset' }).shuffled(items).slice(0, size);
}

/** What was not drawn, in the order of the data. */
function inOrderOf(all: readonly Problem[], kept: readonly Problem[]): Problem[] {
  if (kept.length === all.length) return [...all];
  const ids = new Set(kept.map(({ id }) => id));
  return all.filter(({ id }) => ids.has(id));
}

function refuseEmpty(
  train: readonly Problem[],
  size: number,
  { validation, test }: Record<'validation' | 'test', number>,
): void {
  if (train.length > 0) return;
  if (size === 0)
    throw new ReckonError(
      'data',
      'split-size',
      'Expected problems to train on, found none in the data; check the path, and which split its files are of.',
    );
  throw new ReckonError(
    'recipe',
    'split-size',
    `Expected some of ${size} problems to be left to train on, found ${validation} for validation and ${test} for test; lower the task's keys validation and test, or give it more problems.`,
  );
}

function refuseOverlap(splits: ProblemSplits): void {
  const owner = new Map<string, SplitName>();
  for (const part of ['train', 'validation', 'test'] as const) {
    for (const { id } of splits[part]) {
      const earlier = owner.get(id);
      if (earlier === undefined) {
        owner.set(id, part);
        continue;
      }
      const where = earlier === part ? `twice in ${part}` : `in ${earlier} and in ${part}`;
      throw new ReckonError(
        'recipe',
        'splits-overlap',
        `Expected parts that share no problem, found ${id} ${where}; change the split expressions.`,
      );
    }
  }
}
