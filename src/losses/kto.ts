/** Owns the losses of single judged completions (KTO and unpaired APO-zero), as pure functions of log-ratios. */

import type { Tensor } from '../torch/index.ts';

/** One row a completion, [B] each. */
export interface JudgedRatios {
  /** log(policy / reference) of the whole completion. */
  readonly ratios_B: Tensor;
  /** 1 where the completion is desirable, -1 where it is not. */
  readonly signs_B: Tensor;
}

export interface KtoOptions {
  readonly beta: number;
  readonly desirableWeight: number;
  readonly undesirableWeight: number;
}

export interface KtoLoss {
  /** Weighted, [B]: take the mean over all rows. */
  readonly losses_B: Tensor;
  /** beta times the log-ratio, detached. */
  readonly rewards_B: Tensor;
}

/**
 * w (1 - sigmoid(sign beta (ratio - z0))) a row (Ethayarajh et al. 2024). `zeroPoint` is `ktoZeroPoint`; 0 gives the
 * unpaired APO-zero (D'Oosterlinck et al. 2024).
 */
export function ktoLoss(
  { ratios_B, signs_B }: JudgedRatios,
  zeroPoint: number,
  { beta, desirableWeight, undesirableWeight }: KtoOptions,
): KtoLoss {
  const [middle, half] = [
    (desirableWeight + undesirableWeight) / 2,
    (desirableWeight - undesirableWeight) / 2,
  ];
  const weights_B = signs_B.mul(half).add(middle);
  const losses_B = ratios_B.sub(zeroPoint).mul(signs_B).mul(-beta).sigmoid().mul(weights_B);
  return { losses_B, rewards_B: ratios_B.detach().mul(beta) };
}

/**
 * KTO's reference point: the mean log-ratio of completions put to prompts that they do not belong to, an estimate of
 * KL(policy || reference), at least 0.
 */
export function ktoZeroPoint(mismatchedRatios: readonly number[]): number {
  const sum = mismatchedRatios.reduce((total, ratio) => total + ratio, 0);
  return Math.max(0, sum / Math.max(1, mismatchedRatios.length));
}
