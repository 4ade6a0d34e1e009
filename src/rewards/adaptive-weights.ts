/** Owns reward weights that follow how much each part moves the total, within bounds. Knows no part's meaning. */

import { ReckonError } from '../util/errors.ts';

/** A weight for each part, by name; they sum to what they began with. */
export type RewardWeights = Readonly<Record<string, number>>;

export interface AdaptiveWeightOptions {
  /** Share of a weight that one step replaces; default 0.01. */
  readonly rate?: number;
  /** Bounds of every weight, as a share of the sum of all. */
  readonly least: number;
  readonly most: number;
}

/**
 * Weights moved towards each part's share of the absolute Pearson correlations with the total: w <- (1 - rate) w + rate
 * share, brought into the bounds and back to their sum. `parts` and `totals` are lists over completions; those with an
 * unknown number are left out, and where nothing correlates the weights stay. A weight of 0 stays 0: its part is watched only.
 */
export function adaptWeights(
  weights: RewardWeights,
  parts: Readonly<Record<string, readonly (number | null)[]>>,
  totals: readonly (number | null)[],
  { rate = 0.01, least, most }: AdaptiveWeightOptions,
): RewardWeights {
  const names = Object.keys(weights).filter((name) => weights[name] !== 0);
  const known = [...totals.keys()].filter(
    (i) => totals[i] !== null && names.every((name) => typeof parts[name]?.[i] === 'number'),
  );
  const pick = (values: readonly (number | null)[]) => known.map((i) => values[i]!);
  const strengths = names.map((name) => Math.abs(correlation(pick(parts[name] ?? []), pick(totals))));
  const strength = strengths.reduce((sum, one) => sum + one, 0);
  const sum = names.reduce((total, name) => total + weights[name]!, 0);
  if (!(strength > 0) || !(sum > 0)) return weights;
  const moved = names.map(
    (name, i) => (1 - rate) * (weights[name]! / sum) + (rate * strengths[i]!) / strength,
  );
  const shares = boundedShares(moved, least, most);
  return { ...weights, ...Object.fromEntries(names.map((name, i) => [name, shares[i]! * sum])) };
}

/** Pearson's; 0 where one side does not vary. */
export function correlation(a: readonly number[], b: readonly number[]): number {
  const middle = (values: readonly number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;
  const [meanA, meanB] = [middle(a), middle(b)];
  let [both, ownA, ownB] = [0, 0, 0];
  a.forEach((x, i) => {
    both += (x - meanA) * (b[i]! - meanB);
    ownA += (x - meanA) ** 2;
    ownB += (b[i]! - meanB) ** 2;
  });
  if (!(ownA > 0 && ownB > 0)) return 0;
  return Math.min(1, Math.max(-1, both / Math.sqrt(ownA) / Math.sqrt(ownB)));
}

/** The shares nearest to these that are within [least, most] and sum to 1; throws `bad-bounds` where there are none. */
function boundedShares(shares: readonly number[], least: number, most: number): number[] {
  const count = shares.length;
  if (least * count > 1 || most * count < 1) {
    const found = `found [${least}, ${most}] for ${count} of them`;
    throw new ReckonError('usage', 'bad-bounds', `expected bounds that shares of 1 can keep, ${found}`);
  }
  const moved = (by: number) => shares.map((share) => Math.min(most, Math.max(least, share + by)));
  const sumOf = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);
  if (shares.every((share) => share >= least && share <= most)) return [...shares];
  let [low, high] = [-1, 1];
  for (let i = 0; i < 60; i++) {
    const middle = (low + high) / 2;
    if (sumOf(moved(middle)) < 1) low = middle;
    else high = middle;
  }
  return moved(high);
}
