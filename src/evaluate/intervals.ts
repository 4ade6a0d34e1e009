/**
 * Owns intervals of shares and of means over seeds: Wilson's, one for samples that come in clusters (several of one
 * problem), Student's for a few seeds. Knows plain numbers only.
 */

import { ReckonError } from '../util/errors.ts';
import { type Interval, mean, std } from '../util/statistics.ts';
import { normalQuantile, studentQuantile } from './quantiles.ts';

/** Wilson's score interval (1927) of a share; `trials` need not be whole. Throws `no-trials` without any. */
export function wilson(successes: number, trials: number, level = 0.95): Interval {
  if (!(trials > 0) || successes < 0 || successes > trials) {
    throw new ReckonError(
      'data',
      'no-trials',
      `Expected 0 <= successes <= trials with trials above 0, found ${successes} of ${trials}; count at least one.`,
    );
  }
  return scored(successes / trials, trials, normalQuantile((1 + level) / 2));
}

/**
 * The interval of a share that is a mean over problems of `samples` draws each: Wilson's with the effective number of
 * draws that the spread between problems leaves (Korn and Graubard 1998), between one a problem and all of them, and
 * Student's quantile. Unlike the bootstrap it does not shrink to a point where every problem has the same share. A share
 * that takes `atOnce` samples (pass@k, maj@k) is known from samples / atOnce draws a problem at most.
 */
export function clusteredShare(
  shares: readonly number[],
  samples: number,
  level = 0.95,
  atOnce = 1,
): Interval {
  const problems = shares.length;
  const share = mean(shares);
  const tail = (1 + level) / 2;
  if (samples === 1 || problems < 2) return wilson(share * problems, problems, level);
  const spread = std(shares, 1) ** 2 / problems;
  const most = (problems * samples) / atOnce;
  const bernoulli = share * (1 - share);
  const estimated = spread > 0 ? bernoulli / spread : bernoulli > 0 ? most : problems;
  const effective = Math.min(most, Math.max(problems, estimated));
  return scored(share, effective, studentQuantile(tail, problems - 1));
}

function scored(share: number, trials: number, z: number): Interval {
  const scale = 1 + z ** 2 / trials;
  const centre = (share + z ** 2 / (2 * trials)) / scale;
  const half = (z * Math.sqrt((share * (1 - share)) / trials + z ** 2 / (4 * trials ** 2))) / scale;
  // Rounding must not push an end past the share or out of [0, 1].
  return {
    mean: share,
    low: Math.max(0, Math.min(share, centre - half)),
    high: Math.min(1, Math.max(share, centre + half)),
  };
}

/** One number measured with several seeds. */
export interface SeedSpread extends Interval {
  readonly n: number;
  /** Standard deviation between seeds, dividing by n - 1; NaN for one seed. */
  readonly std: number;
  readonly smallest: number;
  readonly largest: number;
}

/** Mean over seeds with Student's interval, which is wide for two or three; NaN ends for a single seed. */
export function overSeeds(values: readonly number[], level = 0.95): SeedSpread {
  const n = values.length;
  const centre = mean(values);
  const spread = std(values, 1);
  const half = n < 2 ? Number.NaN : (studentQuantile((1 + level) / 2, n - 1) * spread) / Math.sqrt(n);
  return {
    n,
    mean: centre,
    std: spread,
    low: centre - half,
    high: centre + half,
    smallest: Math.min(...values),
    largest: Math.max(...values),
  };
}
