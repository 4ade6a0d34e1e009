/**
 * Owns the clipped policy-gradient loss of GRPO's family as one pure function of log-probabilities; knows neither
 * models nor rewards. Sources: Schulman et al. 2017 (clipping), Shao et al. 2024 (GRPO), Yu et al. 2025 (DAPO).
 */

import { noGrad, type Tensor } from '../torch/index.ts';
import { type KlEstimator, klPerToken } from './kl.ts';

/** One number a token for everything; all f32 [N]. */
export interface PolicyGradientInputs {
  readonly logps_N: Tensor;
  /** Of the policy that the rollouts are counted as coming from. */
  readonly oldLogps_N: Tensor;
  /** Null where there is no reference policy. */
  readonly referenceLogps_N: Tensor | null;
  readonly advantages_N: Tensor;
  /** What each token's loss is multiplied with before the sum: `lossWeights` gives the denominators of the field. */
  readonly weights_N: Tensor;
}

export interface PolicyGradientOptions {
  /** The ratio is clipped to [1 - low, 1 + high]. */
  readonly clip: { readonly low: number; readonly high: number };
  readonly kl: { readonly beta: number; readonly estimator: KlEstimator };
}

export interface PolicyGradientLoss {
  /** sum_t w_t (-min(ratio A, clip(ratio) A) + beta KL): a scalar with a graph. */
  readonly loss: Tensor;
  /** Sums over tokens, detached: divide by the number of tokens. */
  readonly sums: { readonly ratio: Tensor; readonly clipped: Tensor; readonly kl: Tensor | undefined };
}

/** The loss of one micro-batch; summed over micro-batches it does not depend on how they were cut. */
export function policyGradientLoss(
  inputs: PolicyGradientInputs,
  options: PolicyGradientOptions,
): PolicyGradientLoss {
  const { logps_N, oldLogps_N, referenceLogps_N, advantages_N, weights_N } = inputs;
  const { low, high } = options.clip;
  const ratio_N = logps_N.sub(oldLogps_N).exp();
  const plain_N = ratio_N.mul(advantages_N);
  const clipped_N = ratio_N.clamp(1 - low, 1 + high).mul(advantages_N);
  let perToken_N = plain_N.minimum(clipped_N).neg();
  const kl_N = referenceLogps_N && klPerToken(logps_N, referenceLogps_N, options.kl.estimator);
  if (kl_N && options.kl.beta !== 0) perToken_N = perToken_N.add(kl_N, options.kl.beta);
  const sums = noGrad(() => ({
    ratio: ratio_N.detach().sum(),
    // A token is clipped where the bound is active: it lowers the objective and stops the gradient.
    clipped: clipped_N.lt(plain_N).sum(),
    kl: kl_N?.detach().sum(),
  }));
  return { loss: perToken_N.mul(weights_N).sum(), sums };
}

/** What the summed token losses of a batch are divided by. */
export type LossDenominator = 'tokens' | 'sequences' | 'constant';

/**
 * The weight of a token of each sequence: `tokens` 1 / all completion tokens of the optimizer batch (DAPO, TRL's
 * default), `sequences` 1 / (sequences x own length) (the GRPO paper), `constant` 1 / (sequences x longest allowed
 * completion) (Dr. GRPO). Lengths are those of the whole optimizer batch, not of a micro-batch.
 */
export function lossWeights(
  lengths: readonly number[],
  denominator: LossDenominator,
  longest: number,
): number[] {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  return lengths.map((length) => {
    if (denominator === 'tokens') return 1 / Math.max(1, total);
    if (denominator === 'sequences') return 1 / (lengths.length * Math.max(1, length));
    return 1 / (lengths.length * longest);
  });
}
