/** Owns the per-token estimators of KL(policy || reference) from samples of the policy (Schulman 2020). */

import type { Tensor } from '../torch/index.ts';

export type KlEstimator = 'k1' | 'k2' | 'k3';

/** One estimate a token: k1 = logp - ref, k2 = (logp - ref)^2 / 2, k3 = exp(ref - logp) - (ref - logp) - 1; in nats. */
export function klPerToken(logps_N: Tensor, referenceLogps_N: Tensor, estimator: KlEstimator): Tensor {
  const difference = logps_N.sub(referenceLogps_N);
  if (estimator === 'k1') return difference;
  if (estimator === 'k2') return difference.square().mul(0.5);
  return difference.neg().exp().add(difference).sub(1);
}
