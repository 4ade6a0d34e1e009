/**
 * Owns the losses of preference pairs against a reference policy, DPO's family, as pure functions of summed
 * log-probabilities. Knows neither models nor tokens. The kinds carry TRL's names; papers in docs/papers.md.
 */

import { op, type Tensor } from '../torch/index.ts';
import { logSigmoid, type MarginLoss, type MarginOptions, marginLoss } from './preference-margins.ts';

const sort = op('aten::sort') as (values: Tensor) => [Tensor, Tensor];
const largestExponent = 80;

/** One number a completion, [P] each. */
export interface PairValues {
  readonly chosen_P: Tensor;
  readonly rejected_P: Tensor;
}

export interface PreferencePairs {
  /** Log-probabilities of the policy, summed over each completion's tokens. */
  readonly policy: PairValues;
  readonly reference: PairValues;
  /** Tokens of each completion. */
  readonly lengths: PairValues;
  /** What the likelihood term (`sft`) reads where `policy` is not the plain sum: under length desensitising. */
  readonly plainChosen_P?: Tensor;
}

/** What a log-ratio becomes before pairs are compared: f'(ratio) of Wang et al. 2023; DPO's own is the reverse KL. */
export type PreferenceDivergence = 'reverse_kl' | 'forward_kl' | 'js_divergence' | 'alpha_divergence';

export interface PreferenceOptions extends MarginOptions {
  readonly divergence: PreferenceDivergence;
  /** Of the alpha divergence. */
  readonly alpha: number;
}

export type PreferenceLossKind =
  | MarginLoss
  | 'sigmoid_norm'
  | 'nca_pair'
  | 'bco_pair'
  | 'sppo_hard'
  | 'apo_zero'
  | 'apo_down'
  | 'aot'
  | 'aot_unpaired'
  | 'sft';

/** A loss and its factor in a sum of several: MPO (Wang et al. 2024) is sigmoid 0.8, bco_pair 0.2, sft 1. */
export interface PreferenceTerm {
  readonly kind: PreferenceLossKind;
  readonly weight: number;
}

export interface PreferenceLoss {
  /** One loss a pair [P], terms summed by their weights: take the mean. */
  readonly losses_P: Tensor;
  /** beta times the log-ratio, detached, whatever the loss: DPO's implicit reward. */
  readonly rewards: PairValues;
}

/** The loss of every pair; differentiable in `pairs.policy`. */
export function preferenceLoss(
  pairs: PreferencePairs,
  terms: readonly PreferenceTerm[],
  options: PreferenceOptions,
): PreferenceLoss {
  const ratios = each(pairs.policy, (value, side) => value.sub(pairs.reference[side]));
  const scores = each(ratios, (ratio) => scoreOf(ratio, options));
  const views: PairViews = { pairs, ratios, scores };
  const losses_P = terms
    .map(({ kind, weight }) => pairLosses[kind](views, options).mul(weight))
    .reduce((sum, term) => sum.add(term));
  return { losses_P, rewards: each(ratios, (ratio) => ratio.detach().mul(options.beta)) };
}

interface PairViews {
  readonly pairs: PreferencePairs;
  /** log(policy / reference). */
  readonly ratios: PairValues;
  /** The ratios under the divergence. */
  readonly scores: PairValues;
}

type PairLoss = (views: PairViews, options: PreferenceOptions) => Tensor;

/** A loss of the difference of the scores, per sequence or per token. */
function ofMargin(kind: MarginLoss, scale: 'sum' | 'mean'): PairLoss {
  return ({ scores, pairs }, options) => {
    const { chosen_P, rejected_P } =
      scale === 'sum' ? scores : each(scores, (score, side) => score.div(pairs.lengths[side].clamp(1)));
    return marginLoss(kind, chosen_P.sub(rejected_P), options);
  };
}

const pairLosses: Readonly<Record<PreferenceLossKind, PairLoss>> = {
  sigmoid: ofMargin('sigmoid', 'sum'),
  sigmoid_norm: ofMargin('sigmoid', 'mean'),
  hinge: ofMargin('hinge', 'sum'),
  // IPO's paper has sums; its authors normalise by length, and so does TRL.
  ipo: ofMargin('ipo', 'mean'),
  robust: ofMargin('robust', 'sum'),
  exo_pair: ofMargin('exo_pair', 'sum'),
  discopop: ofMargin('discopop', 'sum'),
  nca_pair: ({ ratios: { chosen_P, rejected_P } }, { beta }) =>
    logSigmoid(chosen_P.mul(beta))
      .add(logSigmoid(chosen_P.mul(-beta)), 0.5)
      .add(logSigmoid(rejected_P.mul(-beta)), 0.5)
      .neg(),
  bco_pair: ({ ratios: { chosen_P, rejected_P } }, { beta }) =>
    logSigmoid(chosen_P.mul(beta))
      .add(logSigmoid(rejected_P.mul(-beta)))
      .neg(),
  sppo_hard: ({ ratios: { chosen_P, rejected_P } }, { beta }) =>
    chosen_P
      .sub(0.5 / beta)
      .square()
      .add(rejected_P.add(0.5 / beta).square()),
  apo_zero: ({ ratios: { chosen_P, rejected_P } }, { beta }) =>
    chosen_P.mul(-beta).sigmoid().add(rejected_P.mul(beta).sigmoid()),
  apo_down: ({ ratios: { chosen_P, rejected_P } }, { beta }) =>
    chosen_P.mul(beta).sigmoid().add(rejected_P.sub(chosen_P).mul(beta).sigmoid()),
  // The sorted quantiles are compared, not the pairs: the loss is of the whole batch.
  aot: ({ pairs: { policy, reference } }, options) =>
    marginLoss(
      'sigmoid',
      sorted(policy.chosen_P.sub(policy.rejected_P)).sub(
        sorted(reference.chosen_P.sub(reference.rejected_P)),
      ),
      options,
    ),
  aot_unpaired: ({ ratios }, options) =>
    marginLoss('sigmoid', sorted(ratios.chosen_P).sub(sorted(ratios.rejected_P)), options),
  // The token mean over all chosen completions of the batch, the same for every pair.
  sft: ({ pairs }) =>
    (pairs.plainChosen_P ?? pairs.policy.chosen_P)
      .sum()
      .div(pairs.lengths.chosen_P.sum())
      .neg()
      .expand(pairs.policy.chosen_P.shape),
};

function scoreOf(ratio_P: Tensor, { divergence, alpha }: PreferenceOptions): Tensor {
  if (divergence === 'forward_kl') return ratio_P.neg().exp().neg().add(1);
  if (divergence === 'js_divergence') return logSigmoid(ratio_P).add(Math.LN2);
  if (divergence === 'reverse_kl' || Math.abs(alpha - 1) < 1e-6) return ratio_P;
  return ratio_P
    .mul(alpha - 1)
    .clamp(null, largestExponent)
    .exp()
    .sub(1)
    .div(alpha - 1);
}

function sorted(values_P: Tensor): Tensor {
  const [values] = sort(values_P);
  return values;
}

function each(values: PairValues, map: (value: Tensor, side: keyof PairValues) => Tensor): PairValues {
  return { chosen_P: map(values.chosen_P, 'chosen_P'), rejected_P: map(values.rejected_P, 'rejected_P') };
}
