/**
 * Owns the choice of a preference loss by name and its numbers for one optimizer batch of pairs: from summed
 * log-probabilities to a loss and its metrics. Knows neither a model nor where pairs come from.
 */

import {
  cpoLoss,
  ktoLoss,
  orpoLoss,
  type PairValues,
  type PreferenceLoss,
  preferenceLoss,
} from '../losses/index.ts';
import type { PreferenceObjective } from '../losses/preference-names.ts';
import { cat, fromBytes, full, noGrad, type Tensor } from '../torch/index.ts';
import type { MetricRecord } from '../track/index.ts';

export interface ObjectiveOptions {
  readonly objective: PreferenceObjective;
  readonly beta: number;
  readonly labelSmoothing: number;
  /** SimPO's target margin. */
  readonly gamma: number;
  /** Factor of the mean cross-entropy of the chosen completions, added to the loss. */
  readonly nllWeight: number;
  /** KTO's factors of chosen and rejected completions. */
  readonly desirableWeight: number;
  readonly undesirableWeight: number;
}

/** What a loss knows of a batch of P pairs beside the policy: chosen completions first, then rejected, 2 P each. */
export interface ObjectiveBatch {
  /** Tokens of each completion. */
  readonly lengths: readonly number[];
  /** Summed log-probabilities of the reference, or null where none is needed. */
  readonly reference: Float32Array | null;
  /** KTO's reference point; 0 for the others. */
  readonly zeroPoint: number;
}

/** The mean loss of a batch from the policy's sums [2 P], and what it says of the pairs. */
export function pairObjective(
  sums_S: Tensor,
  batch: ObjectiveBatch,
  options: ObjectiveOptions,
): { readonly loss: Tensor; readonly metrics: MetricRecord } {
  const onDevice = (values: ArrayLike<number>) =>
    fromBytes(Float32Array.from(values), 'f32', [values.length]).to('f32', sums_S.device);
  const lengths_S = onDevice(batch.lengths);
  const { losses, rewards } = lossesOf(
    sums_S,
    lengths_S,
    batch.reference && onDevice(batch.reference),
    batch.zeroPoint,
    options,
  );
  const policy = halves(sums_S);
  const preference = losses.mean();
  const nll = policy.chosen_P.sum().div(halves(lengths_S).chosen_P.sum()).neg();
  return {
    loss: options.nllWeight === 0 ? preference : preference.add(nll, options.nllWeight),
    metrics: noGrad(() => metricsOf(policy, rewards, nll, batch, options)),
  };
}

/** Losses to be averaged, a pair each (a completion each in KTO), and the implicit rewards of the pairs. */
function lossesOf(
  sums_S: Tensor,
  lengths_S: Tensor,
  reference_S: Tensor | null,
  zeroPoint: number,
  options: ObjectiveOptions,
): { losses: Tensor; rewards: PairValues } {
  const { objective, beta, gamma } = options;
  const margin = { beta, labelSmoothing: options.labelSmoothing, discopopTau: 0.05 };
  const free = ({ losses_P, rewards }: PreferenceLoss) => ({ losses: losses_P, rewards });
  const means = () => halves(sums_S.div(lengths_S));
  if (objective === 'orpo') return free(orpoLoss(means(), beta));
  if (objective === 'simpo') return free(cpoLoss(means(), 'sigmoid', { ...margin, gamma, alpha: 0 }));
  if (objective === 'cpo') return free(cpoLoss(halves(sums_S), 'sigmoid', { ...margin, gamma: 0, alpha: 0 }));
  const reference = reference_S ?? sums_S.detach();
  if (objective === 'kto') {
    const pairs = sums_S.size(0) / 2;
    const side = (sign: number) => full([pairs], sign, 'f32', sums_S.device);
    const ratios_B = sums_S.sub(reference);
    const signs_B = cat([side(1), side(-1)]);
    const { losses_B, rewards_B } = ktoLoss({ ratios_B, signs_B }, zeroPoint, options);
    return { losses: losses_B, rewards: halves(rewards_B) };
  }
  const pairs = { policy: halves(sums_S), reference: halves(reference), lengths: halves(lengths_S) };
  const terms = [{ kind: objective, weight: 1 }];
  return free(preferenceLoss(pairs, terms, { ...margin, divergence: 'reverse_kl', alpha: 1 }));
}

function halves(values_S: Tensor): PairValues {
  const pairs = values_S.size(0) / 2;
  return { chosen_P: values_S.narrow(0, 0, pairs), rejected_P: values_S.narrow(0, pairs, pairs) };
}

function metricsOf(
  policy: PairValues,
  { chosen_P, rejected_P }: PairValues,
  nll: Tensor,
  batch: ObjectiveBatch,
  options: ObjectiveOptions,
): MetricRecord {
  const [chosen, rejected] = [chosen_P.mean().item(), rejected_P.mean().item()];
  return {
    'preference/reward_chosen': chosen,
    'preference/reward_rejected': rejected,
    'preference/margin': chosen - rejected,
    'preference/accuracy': rejected_P.lt(chosen_P).to('f32').mean().item(),
    'preference/logp_chosen': policy.chosen_P.detach().mean().item(),
    'preference/logp_rejected': policy.rejected_P.detach().mean().item(),
    'preference/nll_chosen': nll.detach().item(),
    ...(options.objective === 'kto' ? { 'preference/kto_zero': batch.zeroPoint } : {}),
  };
}
