/** Owns means, spreads, quantiles, bootstrap intervals and pass@k of plain arrays. Knows nothing of what was measured. */

import { ReckonError } from './errors.ts';
import type { Rng } from './rng.ts';

/** An estimate with the ends of its interval. */
export interface Interval {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 10_000;

/** The arithmetic mean; NaN for an empty list or where a value is NaN. Equal values give exactly that value. */
export function mean(values: readonly number[]): number {
  const first = values[0];
  if (first === undefined) return Number.NaN;
  let excess = 0;
  for (const value of values) excess += value - first;
  return first + excess / values.length;
}

/**
 * The standard deviation, dividing by `n - ddof` (0: of a population, 1: estimated from a sample). NaN where
 * `n <= ddof` or a value is NaN; exactly 0 for equal values.
 */
export function std(values: readonly number[], ddof: 0 | 1): number {
  if (values.length <= ddof) return Number.NaN;
  const centre = mean(values);
  let squares = 0;
  for (const value of values) squares += (value - centre) ** 2;
  return Math.sqrt(squares / (values.length - ddof));
}

/** The q-quantile, 0 <= q <= 1, linear between order statistics; NaN for an empty list or where a value is NaN. */
export function quantile(values: readonly number[], q: number): number {
  if (values.length === 0 || values.some(Number.isNaN)) return Number.NaN;
  return quantileOfSorted(Float64Array.from(values).sort(), q);
}

/**
 * The mean with its percentile-bootstrap interval over items (Efron 1979): items are drawn with replacement, 10,000
 * times unless said. NaN in every field for an empty list or where a value is NaN.
 */
export function bootstrapMean(
  values: readonly number[],
  rng: Rng,
  level = 0.95,
  resamples: number = RESAMPLES,
): Interval {
  const centre = mean(values);
  if (Number.isNaN(centre)) return { mean: centre, low: centre, high: centre };
  const means = new Float64Array(resamples);
  for (let resample = 0; resample < resamples; resample++) {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += values[rng.integer(values.length)]!;
    means[resample] = sum / values.length;
  }
  means.sort();
  const tail = (1 - level) / 2;
  return { mean: centre, low: quantileOfSorted(means, tail), high: quantileOfSorted(means, 1 - tail) };
}

/**
 * mean(after - before) with its interval, items drawn in pairs: both lists hold the same items in the same order.
 * Throws `unpaired` where their lengths differ.
 */
export function pairedBootstrap(
  before: readonly number[],
  after: readonly number[],
  rng: Rng,
  level = 0.95,
  resamples: number = RESAMPLES,
): Interval {
  if (before.length !== after.length) {
    throw new ReckonError(
      'data',
      'unpaired',
      `Expected two lists over the same items, found ${before.length} and ${after.length}; compare the same problems.`,
    );
  }
  const differences = after.map((value, i) => value - before[i]!);
  return bootstrapMean(differences, rng, level, resamples);
}

/**
 * The unbiased estimate of pass@k from `correct` of `samples` (Chen et al. 2021): 1 - C(n-c, k) / C(n, k), as a
 * product. Throws `pass-at-k` unless 0 <= correct <= samples and 1 <= k <= samples, whole numbers.
 */
export function passAtK(samples: number, correct: number, k: number): number {
  const whole = Number.isInteger(samples) && Number.isInteger(correct) && Number.isInteger(k);
  if (!whole || correct < 0 || correct > samples || k < 1 || k > samples) {
    throw new ReckonError(
      'data',
      'pass-at-k',
      `Expected 0 <= correct <= samples and 1 <= k <= samples, found correct ${correct}, samples ${samples}, k ${k}; sample at least k times.`,
    );
  }
  if (samples - correct < k) return 1;
  let allWrong = 1;
  for (let i = samples - correct + 1; i <= samples; i++) allWrong *= 1 - k / i;
  return 1 - allWrong;
}

function quantileOfSorted(sorted: Float64Array, q: number): number {
  const position = q * (sorted.length - 1);
  const below = Math.floor(position);
  const low = sorted[below]!;
  const high = sorted[Math.min(below + 1, sorted.length - 1)]!;
  return low + (high - low) * (position - below);
}
