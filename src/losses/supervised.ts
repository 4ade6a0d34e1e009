/** Owns the losses of supervised fine-tuning as pure functions of the log-probabilities of its labels. */

import { noGrad, type Tensor } from '../torch/index.ts';

/** `nll` is cross-entropy; `dft` weights it by the token's own probability, without gradient (Wu et al. 2025). */
export type SupervisedLoss = 'nll' | 'dft';

/**
 * The summed token losses over `denominator`: the label tokens of the whole optimizer batch, so that the cut into
 * micro-batches leaves no trace.
 */
export function supervisedLoss(kind: SupervisedLoss, logps_N: Tensor, denominator: number): Tensor {
  const perToken_N = kind === 'nll' ? logps_N : logps_N.mul(noGrad(() => logps_N.detach().exp()));
  return perToken_N.sum().mul(-1 / denominator);
}
