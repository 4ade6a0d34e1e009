/** Owns preference losses without a reference policy: ORPO, CPO, SimPO and AlphaPO, of log-probabilities of pairs. */

import { invoke, Op, type Tensor, where } from '../torch/index.ts';
import type { PairValues, PreferenceLoss } from './preference.ts';
import { logSigmoid, type MarginLoss, type MarginOptions, marginLoss } from './preference-margins.ts';

const log1pOp = new Op('aten::log1p');
const expm1Op = new Op('aten::expm1');

export interface CpoOptions extends MarginOptions {
  /** SimPO's target margin: the loss is sigmoid(beta margin - gamma); 0 for CPO. */
  readonly gamma: number;
  /** AlphaPO's (Gupta et al. 2025) shape of the reward, (1 - p^-alpha) / alpha; its limit at 0 is log p. */
  readonly alpha: number;
}

/**
 * The loss of a pair by its own log-probabilities: sums give CPO (Xu et al. 2024), token means with a gamma SimPO (Meng
 * et al. 2024) and reference-free IPO. CPO adds the cross-entropy of the chosen completions.
 */
export function cpoLoss(logps: PairValues, kind: MarginLoss, options: CpoOptions): PreferenceLoss {
  const { beta, gamma, alpha } = options;
  const reward = (logp: Tensor) => (alpha === 0 ? logp : logp.mul(-alpha).exp().neg().add(1).div(alpha));
  const chosen_P = reward(logps.chosen_P);
  const rejected_P = reward(logps.rejected_P);
  const losses_P = marginLoss(kind, chosen_P.sub(rejected_P).sub(gamma / beta), options);
  return {
    losses_P,
    rewards: { chosen_P: chosen_P.detach().mul(beta), rejected_P: rejected_P.detach().mul(beta) },
  };
}

export interface OrpoLoss extends PreferenceLoss {
  /** log(odds of chosen / odds of rejected), detached. */
  readonly logOdds_P: Tensor;
}

/**
 * beta (-log sigmoid(log odds ratio)) a pair (Hong et al. 2024), from token means of log-probabilities; the whole ORPO
 * adds the cross-entropy of the chosen completions.
 */
export function orpoLoss(meanLogps: PairValues, beta: number): OrpoLoss {
  const { chosen_P, rejected_P } = meanLogps;
  const logOdds = (logp: Tensor) => logp.sub(log1mexp(logp));
  const logOdds_P = logOdds(chosen_P).sub(logOdds(rejected_P));
  return {
    losses_P: logSigmoid(logOdds_P).mul(-beta),
    rewards: { chosen_P: chosen_P.detach().mul(beta), rejected_P: rejected_P.detach().mul(beta) },
    logOdds_P: logOdds_P.detach(),
  };
}

/** log(1 - exp(x)) for x < 0, by whichever of two forms keeps its digits (Maechler 2012). */
function log1mexp(x: Tensor): Tensor {
  const far = invoke(log1pOp, x.exp().neg().handle);
  const near = invoke(expm1Op, x.handle).neg().log();
  return where(x.lt(-Math.LN2), far, near);
}
