/** Owns the per-token estimators of KL(policy || reference) from samples of the policy (Schulman 2020). */

import type { Tensor } from '../torch/index.ts';

/**
 * k1 = logp - ref, k2 = (logp - ref)^2 / 2, k3 = exp(ref - logp) - (ref - logp) - 1. `k3+` has the value of k3 and the
 * gradient of k2, which on-policy is that of the KL; the gradient of k3 itself is not.
 */
export type KlEstimator = 'k1' | 'k2' | 'k3' | 'k3+';

/** One estimate a token, in nats. */
export function klPerToken(logps_N: Tensor, referenceLogps_N: Tensor, estimator: KlEstimator): Tensor {
  const difference = logps_N.sub(referenceLogps_N);
  if (estimator === 'k1') return difference;
  const k2 = () => difference.square().mul(0.5);
  const k3 = () => difference.neg().exp().add(difference).sub(1);
  if (estimator === 'k2') return k2();
  if (estimator === 'k3') return k3();
  const straight = k2();
  return straight.add(k3().sub(straight).detach());
}
