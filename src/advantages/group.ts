/** Owns group-centred advantages (GRPO, Dr. GRPO, RLOO, GDPO) on plain arrays. Knows no tokens, losses or tensors. */

import { ReckonError } from '../util/errors.ts';
import { mean, std } from '../util/statistics.ts';
import { scaled } from './scaled.ts';

/** A reward of one sample; null where it cannot be known. */
export type MaybeReward = number | null;

/** What centred rewards are divided by: their group's std, the whole batch's std, or nothing (Dr. GRPO). */
export type AdvantageScale = 'group' | 'batch' | 'none';

export interface GroupAdvantageOptions {
  readonly scale: AdvantageScale;
  /** Added to the standard deviation; default 1e-4. */
  readonly epsilon?: number;
  /** What the standard deviation subtracts from the count; default 1. */
  readonly ddof?: 0 | 1;
}

/** Advantages in the shape of the rewards, with what a run logs about them. */
export interface GroupAdvantages {
  readonly advantages: number[][];
  /** Groups with at least two scores, all of them equal, over all groups; 0 without groups. */
  readonly noSpreadShare: number;
  /** Groups with fewer than two scores: all their advantages are 0. */
  readonly droppedGroups: number;
  /** Null rewards, each of which has advantage 0. */
  readonly unscored: number;
  /** Mean and std (by `ddof`) of all scores; NaN where there are too few. */
  readonly rewardMean: number;
  readonly rewardStd: number;
}

/**
 * A = (r - mean of the group) / (std + epsilon), as TRL 1.13. A null reward is left out of mean and std and gets
 * advantage 0. With scale 'batch' the std is over every score, but the mean is still the group's. Throws
 * `reward-not-finite`.
 */
export function groupAdvantages(
  rewards: readonly (readonly MaybeReward[])[],
  options: GroupAdvantageOptions,
): GroupAdvantages {
  const { scale, epsilon = 1e-4, ddof = 1 } = options;
  const summary = summarise(rewards, ddof);
  const advantages = rewards.map((group) => {
    const scores = scored(group);
    if (scores.length < 2) return group.map(() => 0);
    const centre = mean(scores);
    const spread = scale === 'group' ? std(scores, ddof) : summary.rewardStd;
    const divisor = scale === 'none' ? 1 : spread + epsilon;
    return group.map((reward) => (reward === null ? 0 : scaled(reward - centre, divisor)));
  });
  return { advantages, ...summary };
}

/**
 * A = r - mean of the group's other scores (RLOO, Ahmadian et al. 2024), nulls and small groups as in
 * `groupAdvantages`; `normalize` then whitens over the batch's scored samples as TRL 1.13 does.
 */
export function leaveOneOutAdvantages(
  rewards: readonly (readonly MaybeReward[])[],
  options: { readonly normalize?: boolean; readonly epsilon?: number } = {},
): GroupAdvantages {
  const summary = summarise(rewards, 1);
  const baselined = rewards.map((group) => {
    const scores = scored(group);
    if (scores.length < 2) return group.map(() => null);
    const centre = mean(scores);
    const correction = scores.length / (scores.length - 1);
    return group.map((reward) => (reward === null ? null : correction * (reward - centre)));
  });
  const advantages = options.normalize
    ? whiten(baselined, options.epsilon ?? 1e-4)
    : baselined.map((group) => group.map((value) => value ?? 0));
  return { advantages, ...summary };
}

/**
 * GDPO (TRL's `normalize_then_sum`): each reward function is normalised within its group, the results are summed
 * with weights and whitened over the batch. `rewards` is [group][sample][function]; a null component is left out of
 * its own function's statistics and of the sum, and a sample with no score at all gets advantage 0.
 */
export function decoupledAdvantages(
  rewards: readonly (readonly (readonly MaybeReward[])[])[],
  weights: readonly number[],
  options: { readonly epsilon?: number } = {},
): GroupAdvantages {
  const epsilon = options.epsilon ?? 1e-4;
  const normalised = weights.map((_, k) => {
    const ofFunction = rewards.map((group) => group.map((sample) => sample[k] ?? null));
    return groupAdvantages(ofFunction, { scale: 'group', epsilon }).advantages;
  });
  const totals = rewards.map((group, g) =>
    group.map((sample, i) => weightedSum(sample, weights, (_, k) => normalised[k]![g]![i]!)),
  );
  const plain = rewards.map((group) => group.map((sample) => weightedSum(sample, weights, (score) => score)));
  return { advantages: whiten(totals, epsilon), ...summarise(plain, 1) };
}

/** The weighted sum over the functions that gave a score, or null where none did. */
function weightedSum(
  sample: readonly MaybeReward[],
  weights: readonly number[],
  termOf: (score: number, k: number) => number,
): MaybeReward {
  let total: MaybeReward = null;
  weights.forEach((weight, k) => {
    const score = sample[k] ?? null;
    if (score !== null) total = (total ?? 0) + weight * termOf(score, k);
  });
  return total;
}

/** (x - mean) / (std + epsilon) over all scores of the batch; nulls, and a batch with fewer than two, become 0. */
function whiten(values: readonly (readonly MaybeReward[])[], epsilon: number): number[][] {
  const scores = scored(values.flat());
  if (scores.length < 2) return values.map((group) => group.map(() => 0));
  const centre = mean(scores);
  const divisor = std(scores, 1) + epsilon;
  return values.map((group) => group.map((value) => (value === null ? 0 : scaled(value - centre, divisor))));
}

function summarise(
  rewards: readonly (readonly MaybeReward[])[],
  ddof: 0 | 1,
): Omit<GroupAdvantages, 'advantages'> {
  const all = rewards.flat();
  const scores = scored(all);
  const bad = scores.find((score) => !Number.isFinite(score));
  if (bad !== undefined) {
    throw new ReckonError(
      'run',
      'reward-not-finite',
      `Expected every reward to be finite or null, found ${bad}; return null where a reward cannot be known.`,
    );
  }
  const groups = rewards.map(scored);
  const flat = groups.filter((group) => group.length >= 2 && group.every((score) => score === group[0]));
  return {
    noSpreadShare: rewards.length === 0 ? 0 : flat.length / rewards.length,
    droppedGroups: groups.filter((group) => group.length < 2).length,
    unscored: all.length - scores.length,
    rewardMean: mean(scores),
    rewardStd: std(scores, ddof),
  };
}

function scored(rewards: readonly MaybeReward[]): number[] {
  return rewards.filter((reward) => reward !== null);
}
