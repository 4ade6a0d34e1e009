/** Owns what is logged of scored rollouts and of policy updates. Changes nothing. */

import type { GroupAdvantages } from '../advantages/index.ts';
import type { Scored, ScoredGroup } from '../rewards/index.ts';
import type { MetricRecord } from '../track/index.ts';
import { mean } from '../util/statistics.ts';
import type { UpdateSums } from './policy-update.ts';

/**
 * Rewards and their parts, accuracy, format, lengths, stop reasons, spread of the groups; `byToken` has the advantages of the
 * tokens of each completion, where they differ.
 */
export function rolloutMetrics(
  groups: readonly ScoredGroup[],
  advantages: GroupAdvantages,
  byToken: readonly (readonly number[])[] = advantages.advantages,
): MetricRecord {
  const all = groups.flatMap((group) => group.scored);
  const parts = Object.keys(all[0]?.parts ?? {}).map((name) => {
    const known = all.map((one) => one.parts[name]).filter((value) => typeof value === 'number');
    return [`reward/${name}`, known.length > 0 ? mean(known) : null];
  });
  return {
    'reward/mean': finiteOrNull(advantages.rewardMean),
    'reward/std': finiteOrNull(advantages.rewardStd),
    ...Object.fromEntries(parts),
    ...judgementMetrics(groups),
    'advantage/abs_mean': mean(byToken.flat().map(Math.abs)),
    'group/no_spread_share': advantages.noSpreadShare,
  };
}

/** How many there are, accuracy, format, lengths and stop reasons of the rollouts. */
export function judgementMetrics(groups: readonly ScoredGroup[]): MetricRecord {
  const all = groups.flatMap((group) => group.scored);
  const share = (test: (one: Scored) => boolean) => all.filter(test).length / all.length;
  const lengths = all.map((one) => one.rollout.completionIds.length);
  return {
    'accuracy/mean': share((one) => one.judgement.verdict === 'correct'),
    'rollouts/count': all.length,
    'verdict/unverifiable': all.filter((one) => one.judgement.verdict === 'unverifiable').length,
    'format/mean': share((one) => one.formatOk),
    'completion/length_mean': mean(lengths),
    'completion/length_max': Math.max(...lengths),
    'stop/eos': share((one) => one.rollout.stopReason === 'eos'),
    'stop/stop': share((one) => one.rollout.stopReason === 'stop'),
    'stop/length': share((one) => one.rollout.stopReason === 'length'),
  };
}

/**
 * Means a token over the updates of a step, null where there was none; the engine's mismatch is that of the first update,
 * before any change.
 */
export function updateMetrics(
  updates: readonly UpdateSums[],
): MetricRecord & { readonly 'batch/tokens': number } {
  const targets = updates.reduce((sum, update) => sum + update.targets, 0);
  const perToken = (read: (update: UpdateSums) => number) =>
    targets > 0 ? updates.reduce((sum, update) => sum + read(update), 0) / targets : null;
  return {
    loss: updates.length > 0 ? mean(updates.map((update) => update.loss)) : null,
    grad_norm: updates.length > 0 ? mean(updates.map((update) => update.gradNorm)) : null,
    'policy/kl': updates.every((update) => update.kl !== null) ? perToken((update) => update.kl!) : null,
    'policy/entropy': perToken((update) => update.entropy),
    'policy/ratio_mean': perToken((update) => update.ratio),
    'policy/clip_fraction': perToken((update) => update.clipped),
    'policy/logp_mismatch_mean': updates[0]?.compared ? updates[0].mismatch / updates[0].compared : null,
    'policy/logp_mismatch_max': updates[0]?.compared ? updates[0].mismatchMax : null,
    ...importanceMetrics(updates, targets),
    'batch/tokens': updates.reduce((sum, update) => sum + update.tokens, 0),
    'batch/padding_share': updates.length > 0 ? mean(updates.map((update) => update.paddingShare)) : null,
  };
}

/** Of importance weights, where the sampler is another distribution than the policy. */
function importanceMetrics(
  updates: readonly Pick<UpdateSums, 'importance'>[],
  targets: number,
): MetricRecord {
  const known = updates.flatMap(({ importance }) => (importance ? [importance] : []));
  if (known.length === 0) return {};
  return {
    'policy/importance_mean': known.reduce((sum, one) => sum + one.sum, 0) / Math.max(1, targets),
    'policy/importance_max': Math.max(...known.map((one) => one.max)),
  };
}

function finiteOrNull(value: number): number | null {
  return Number.isFinite(value) ? value : null;
}
