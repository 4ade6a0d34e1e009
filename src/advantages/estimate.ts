/** Owns the choice among the estimators of advantages, by the names that recipes use. Knows no tokens. */

import { mean, std } from '../util/statistics.ts';
import {
  decoupledAdvantages,
  type GroupAdvantageOptions,
  type GroupAdvantages,
  groupAdvantages,
  leaveOneOutAdvantages,
  type MaybeReward,
} from './group.ts';
import { type RunningState, runningAdvantages } from './running.ts';

/**
 * `group`: the reward less its group's mean (GRPO). `leave-one-out`: less the mean of the group's others (RLOO).
 * `decoupled`: each reward normalised in its group, then summed (GDPO). `none`: the reward itself (REINFORCE).
 */
export type AdvantageBaseline = 'group' | 'leave-one-out' | 'decoupled' | 'none';

export interface AdvantageOptions extends GroupAdvantageOptions {
  readonly baseline?: AdvantageBaseline;
  /** Brings the batch's advantages to mean 0 and std 1 (REINFORCE++). */
  readonly whiten?: boolean;
  /** Running normalisation over groups in place of each group's own; 0, the default, is off. */
  readonly maxMomentum?: number;
}

export interface RewardBatch {
  /** [group][sample]. */
  readonly totals: readonly (readonly MaybeReward[])[];
  /** [group][sample][reward], unweighted, and the weights of the rewards; only `decoupled` reads them. */
  readonly parts: readonly (readonly (readonly MaybeReward[])[])[];
  readonly weights: readonly number[];
}

/** Advantages by the options; `running` is the state of the running normalisation, returned moved on. */
export function estimateAdvantages(
  batch: RewardBatch,
  options: AdvantageOptions,
  running: RunningState | null = null,
): GroupAdvantages & { readonly running: RunningState | null } {
  const plain = baselined(batch, options);
  if (options.maxMomentum) {
    const moved = runningAdvantages(batch.totals, running, {
      maxMomentum: options.maxMomentum,
      ...(options.epsilon === undefined ? {} : { epsilon: options.epsilon }),
    });
    return { ...plain, advantages: moved.advantages, running: moved.state };
  }
  if (!options.whiten) return { ...plain, running: null };
  return { ...plain, advantages: whitened(plain.advantages, batch.totals), running: null };
}

function baselined({ totals, parts, weights }: RewardBatch, options: AdvantageOptions): GroupAdvantages {
  const { baseline = 'group', epsilon } = options;
  const given = epsilon === undefined ? {} : { epsilon };
  if (baseline === 'leave-one-out') return leaveOneOutAdvantages(totals, given);
  if (baseline === 'decoupled') return decoupledAdvantages(parts, weights, given);
  const centred = groupAdvantages(totals, options);
  if (baseline === 'group') return centred;
  return { ...centred, advantages: totals.map((group) => group.map((reward) => reward ?? 0)) };
}

/** Over the scored samples of the batch; the others stay 0. */
function whitened(
  advantages: readonly (readonly number[])[],
  totals: readonly (readonly MaybeReward[])[],
): number[][] {
  const known = advantages.flatMap((group, g) => group.filter((_, i) => totals[g]![i] !== null));
  if (known.length < 2) return advantages.map((group) => group.map(() => 0));
  const [centre, spread] = [mean(known), std(known, 1)];
  return advantages.map((group, g) =>
    group.map((value, i) => (totals[g]![i] === null ? 0 : (value - centre) / (spread + 1e-8))),
  );
}
