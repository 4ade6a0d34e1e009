/**
 * Owns the losses of preference that see a pair only through one margin: how much better the model likes the chosen
 * completion than the rejected. Knows neither a reference nor lengths.
 */

import { invoke, Op, type Tensor } from '../torch/index.ts';

const logSigmoidOp = new Op('aten::log_sigmoid');
const reluOp = new Op('aten::relu');

export interface MarginOptions {
  /** Sharpness: the margin is multiplied by it (IPO's tau, where the wanted margin is 1 / (2 beta)). */
  readonly beta: number;
  /** The share of pairs that is believed to be labelled the wrong way round. */
  readonly labelSmoothing: number;
  /** Temperature of DiscoPOP's blend (0.05 in the paper). */
  readonly discopopTau: number;
}

export type MarginLoss = 'sigmoid' | 'hinge' | 'ipo' | 'robust' | 'exo_pair' | 'discopop';

/**
 * One loss a pair from its margin [P]. `sigmoid` is DPO (Rafailov et al. 2023), conservative DPO where labels are
 * smoothed; `hinge` SLiC (Zhao et al. 2023), `ipo` Azar et al. 2023, `robust` Chowdhury et al. 2024, `exo_pair` Ji et
 * al. 2024, `discopop` Lu et al. 2024.
 */
export function marginLoss(kind: MarginLoss, margin_P: Tensor, options: MarginOptions): Tensor {
  return marginLosses[kind](margin_P, options);
}

/** log sigmoid(x), exact far from 0 on either side. */
export function logSigmoid(x: Tensor): Tensor {
  return invoke(logSigmoidOp, x.handle);
}

const marginLosses: Readonly<Record<MarginLoss, (margin_P: Tensor, options: MarginOptions) => Tensor>> = {
  sigmoid: (margin_P, { beta, labelSmoothing }) => flipped(margin_P.mul(beta), labelSmoothing, 1),
  hinge: (margin_P, { beta }) => invoke(reluOp, margin_P.mul(-beta).add(1).handle),
  ipo: (margin_P, { beta }) => margin_P.sub(1 / (2 * beta)).square(),
  /** Unbiased under flips: the flipped loss is subtracted, the rest scaled up again. */
  robust: (margin_P, { beta, labelSmoothing }) =>
    flipped(margin_P.mul(beta), labelSmoothing, -1).div(1 - 2 * labelSmoothing),
  /** KL from the two-way softmax of the pair to the smoothed labels. */
  exo_pair: (margin_P, { beta, labelSmoothing }) => {
    const logit_P = margin_P.mul(beta);
    const against = (sign: 1 | -1, label: number) => {
      const logp_P = logSigmoid(logit_P.mul(sign));
      return logp_P.exp().mul(logp_P.sub(Math.log(label)));
    };
    return against(1, 1 - labelSmoothing).add(against(-1, labelSmoothing));
  },
  /** Logistic below a margin of 0 and exponential above, blended by a steep sigmoid. */
  discopop: (margin_P, { beta, discopopTau }) => {
    const logit_P = margin_P.mul(beta);
    const share_P = logit_P.div(discopopTau).sigmoid();
    const logistic_P = logSigmoid(logit_P).neg();
    return logistic_P.add(share_P.mul(logit_P.neg().exp().sub(logistic_P)));
  },
};

/** (1 - e) loss + sign e (loss of the pair the other way round), logistic. */
function flipped(logit_P: Tensor, labelSmoothing: number, sign: 1 | -1): Tensor {
  const right_P = logSigmoid(logit_P).mul(-(1 - labelSmoothing));
  if (labelSmoothing === 0) return right_P;
  return right_P.sub(logSigmoid(logit_P.neg()).mul(sign * labelSmoothing));
}
