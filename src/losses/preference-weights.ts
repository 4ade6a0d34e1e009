/** Owns what weighs tokens and pairs in preference learning: length desensitising and the weights of WPO. */

import { noGrad, type Tensor } from '../torch/index.ts';

/**
 * The factor of each of a completion's tokens in its summed log-probability (LD-DPO, Liu et al. 2024): 1 up to the
 * length that both completions of the pair have, `alpha` beyond; alpha 1 is the plain sum.
 */
export function desensitisedWeights(length: number, otherLength: number, alpha: number): number[] {
  return Array.from({ length }, (_, t) => (t < otherLength ? 1 : alpha));
}

/**
 * How probable the policy finds a token relative to its own expectation, log pi(y) - log sum_v pi(v)^2, [N] from
 * logits_NV; no gradient. WPO (Zhou et al. 2024) multiplies a pair's loss by exp of the token means of its two
 * completions, so that pairs count as if they were on-policy.
 */
export function alignedLogps(logits_NV: Tensor, logps_N: Tensor): Tensor {
  return noGrad(() => {
    const expectation_N = logits_NV.mul(2).logsumexp(-1).sub(logits_NV.logsumexp(-1).mul(2));
    return logps_N.detach().sub(expectation_N);
  });
}
