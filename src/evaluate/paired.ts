/** Owns the comparison of two systems on the same problems: paired bootstrap and McNemar's test. Knows plain arrays only. */

import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import { pairedBootstrap as resamplePairs } from '../util/statistics.ts';

/** How a paired bootstrap resamples. */
export interface PairedBootstrapOptions {
  /** 10,000 by default. */
  readonly resamples?: number;
  /** The interval depends on the values and on this alone; 0 by default. */
  readonly seed?: number;
  /** Coverage of the interval; 0.95 by default. */
  readonly level?: number;
}

/** mean(b) - mean(a), and the ends of its interval. */
export interface PairedDifference {
  readonly difference: number;
  readonly low: number;
  readonly high: number;
}

/**
 * How much better `b` is than `a`: mean(b - a) with its percentile-bootstrap interval over problems (Efron 1979), which are
 * drawn with replacement in pairs. Both lists hold a number for each problem, in the same order; `unpaired` otherwise.
 */
export function pairedBootstrap(
  a: readonly number[],
  b: readonly number[],
  { resamples, seed = 0, level }: PairedBootstrapOptions = {},
): PairedDifference {
  const rng = new Rng({ seed, purpose: 'paired-bootstrap' });
  const { mean, low, high } = resamplePairs(a, b, rng, level, resamples);
  return { difference: mean, low, high };
}

/** McNemar's test of two systems that each solve a problem or not. */
export interface McNemar {
  /** Problems that only the first solves. */
  readonly onlyA: number;
  /** Problems that only the second solves. */
  readonly onlyB: number;
  /** Two-sided exact p-value of both being equally good; 1 where they never differ. */
  readonly pValue: number;
  /** Chi-square with continuity correction, (|onlyA - onlyB| - 1)^2 / (onlyA + onlyB); 0 where they never differ. */
  readonly statistic: number;
}

/**
 * McNemar 1947, exact: given that one of the two solves a problem and the other does not, each is the one with probability
 * 1/2 where they are equally good. Lists hold the same problems in the same order; throws `unpaired` otherwise.
 */
export function mcnemar(a: readonly boolean[], b: readonly boolean[]): McNemar {
  if (a.length !== b.length) {
    throw new ReckonError(
      'data',
      'unpaired',
      `Expected two lists over the same problems, found ${a.length} and ${b.length}; compare the same problems.`,
    );
  }
  const onlyA = a.filter((solved, i) => solved && !b[i]).length;
  const onlyB = b.filter((solved, i) => solved && !a[i]).length;
  const differing = onlyA + onlyB;
  if (differing === 0) return { onlyA, onlyB, pValue: 1, statistic: 0 };
  const pValue = Math.min(1, 2 * lowerTail(Math.min(onlyA, onlyB), differing));
  const statistic = Math.max(0, Math.abs(onlyA - onlyB) - 1) ** 2 / differing;
  return { onlyA, onlyB, pValue, statistic };
}

/** P(X <= most) of a binomial with `n` fair draws; in logarithms, so that no `n` over- or underflows. */
function lowerTail(most: number, n: number): number {
  let logTerm = -n * Math.LN2;
  let tail = 0;
  for (let k = 0; k <= most; k++) {
    tail += Math.exp(logTerm);
    logTerm += Math.log(n - k) - Math.log(k + 1);
  }
  return tail;
}
