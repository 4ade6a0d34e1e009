/** Owns mixing several lists into one, by counts or by weights. Knows nothing of what is mixed. */

import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';

/** One list of a mixture, with its count or its weight. */
export interface MixtureSource<T> {
  readonly name: string;
  readonly items: readonly T[];
  /** How many to take. */
  readonly count?: number | undefined;
  /** The share in the whole, over the sum of all weights. */
  readonly weight?: number | undefined;
}

/**
 * The items of all sources in one seeded order: so many of each as `count` says, or shares by `weight`, as large as the
 * sources allow without taking an item twice (or `size` items). Either all have a count or all have a weight. Throws
 * `bad-mixture`.
 */
export function mix<T>(sources: readonly MixtureSource<T>[], seed: number, size?: number): T[] {
  const counts = sources.every(({ count }) => count !== undefined)
    ? sources.map(({ count }) => count!)
    : countsByWeight(sources, size);
  const taken = sources.flatMap(({ name, items }, i) => {
    if (counts[i]! > items.length)
      throw bad(
        `${counts[i]} of ${name} are wanted and it has ${items.length}; lower its count, or the size`,
      );
    return new Rng({ seed, purpose: 'mixture', id: name }).shuffled(items).slice(0, counts[i]!);
  });
  return new Rng({ seed, purpose: 'mixture' }).shuffled(taken);
}

/** Whole numbers in the proportion of the weights: shares rounded down, what is left to the largest remainders. */
function countsByWeight<T>(sources: readonly MixtureSource<T>[], size: number | undefined): number[] {
  const weights = sources.map(({ weight }) => weight ?? Number.NaN);
  const sum = weights.reduce((total, weight) => total + weight, 0);
  if (!(sum > 0) || weights.some((weight) => weight < 0))
    throw bad('every source needs a count, or every source a weight of 0 or more with a sum above 0');
  const shares = weights.map((weight) => weight / sum);
  if (size !== undefined) return apportion(shares, size);
  const limits = sources.map(({ items }, i) =>
    shares[i]! > 0 ? items.length / shares[i]! : Number.POSITIVE_INFINITY,
  );
  for (let total = Math.floor(Math.min(...limits)); total > 0; total--) {
    const counts = apportion(shares, total);
    if (counts.every((count, i) => count <= sources[i]!.items.length)) return counts;
  }
  return shares.map(() => 0);
}

function apportion(shares: readonly number[], size: number): number[] {
  const exact = shares.map((share) => share * size);
  // A share such as 0.1 + 0.2 of 10 must not lose a whole item to rounding.
  const counts = exact.map((value) => Math.floor(value + 1e-9));
  const order = shares
    .map((_, i) => i)
    .sort((a, b) => exact[b]! - counts[b]! - (exact[a]! - counts[a]!) || a - b);
  let left = size - counts.reduce((sum, count) => sum + count, 0);
  for (const i of order) if (left-- > 0) counts[i]!++;
  return counts;
}

function bad(why: string): ReckonError {
  return new ReckonError('recipe', 'bad-mixture', `the mixture cannot be made: ${why}`);
}
