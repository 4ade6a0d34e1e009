/** Owns the per-token policy terms of GRPO's family, without KL, entropy and denominators. Knows no batch. */

import { noGrad, type Tensor, where, zeros } from '../torch/index.ts';
import type { PolicyGradientInputs, PolicyGradientOptions } from './policy-gradient.ts';
import { type Rows, rowMeans, rowSums, spreadRows } from './rows.ts';

/**
 * `clip`: -min(ratio A, clip(ratio) A) (PPO, GRPO, GSPO and most others). `cispo`: -sg(min(ratio, high)) A logp.
 * `sapo`: a sigmoid gate in place of the clip. `vespo`: -sg(phi) A logp, phi a gamma weight of the sequence's ratio.
 * `gmpo`: the geometric mean over the sequence of ratios clipped as logarithms. `reinforce`: -A logp.
 */
export type PolicyObjective =
  | { readonly name: 'clip' }
  | { readonly name: 'cispo' }
  | { readonly name: 'sapo'; readonly positive: number; readonly negative: number }
  | {
      readonly name: 'vespo';
      readonly positive: { readonly k: number; readonly lambda: number };
      readonly negative: { readonly k: number; readonly lambda: number };
    }
  | { readonly name: 'gmpo' }
  | { readonly name: 'reinforce' };

/** One loss a token with its graph, and where a bound was active, detached. */
export interface PolicyTerm {
  readonly loss_N: Tensor;
  readonly clippedLow_N: Tensor;
  readonly clippedHigh_N: Tensor;
}

/** The policy term of each token. */
export function policyPerToken(
  inputs: PolicyGradientInputs,
  ratio_N: Tensor,
  options: PolicyGradientOptions,
): PolicyTerm {
  const objective = options.objective ?? { name: 'clip' };
  const { advantages_N, logps_N } = inputs;
  switch (objective.name) {
    case 'clip':
      return clipped(ratio_N, advantages_N, options.clip);
    case 'cispo': {
      const weight_N = ratio_N.detach().clamp(null, options.clip.high);
      const high_N = noGrad(() => ratio_N.detach().gt(options.clip.high).logicalAnd(advantages_N.gt(0)));
      return { ...unclipped(weight_N.mul(advantages_N).mul(logps_N).neg()), clippedHigh_N: high_N };
    }
    case 'sapo': {
      const gate = (temperature: number) =>
        ratio_N
          .sub(1)
          .mul(temperature)
          .sigmoid()
          .mul(4 / temperature);
      const gate_N = where(advantages_N.gt(0), gate(objective.positive), gate(objective.negative));
      return unclipped(gate_N.mul(advantages_N).neg());
    }
    case 'vespo':
      return unclipped(gammaWeights(inputs, objective).mul(advantages_N).mul(logps_N).neg());
    case 'gmpo':
      return geometricMean(inputs, options.clip);
    case 'reinforce':
      return unclipped(advantages_N.mul(logps_N).neg());
  }
}

function unclipped(loss_N: Tensor): PolicyTerm {
  const none = noGrad(() => zeros(loss_N.shape, 'bool', loss_N.device));
  return { loss_N, clippedLow_N: none, clippedHigh_N: none };
}

function clipped(
  free_N: Tensor,
  advantages_N: Tensor,
  { low, high, cap, dual }: PolicyGradientOptions['clip'],
): PolicyTerm {
  const bounded_N = free_N.clamp(1 - low, 1 + high).mul(advantages_N);
  const ratio_N = typeof cap === 'number' ? free_N.clamp(null, cap) : free_N;
  let loss_N = ratio_N.mul(advantages_N).minimum(bounded_N).neg();
  if (typeof dual === 'number')
    loss_N = where(advantages_N.lt(0), loss_N.minimum(advantages_N.mul(-dual)), loss_N);
  return {
    loss_N,
    // A token is clipped where the bound is active: it lowers the objective and stops the gradient.
    ...noGrad(() => ({
      clippedLow_N: ratio_N
        .detach()
        .lt(1 - low)
        .logicalAnd(advantages_N.lt(0)),
      clippedHigh_N: ratio_N
        .detach()
        .gt(1 + high)
        .logicalAnd(advantages_N.gt(0)),
    })),
  };
}

const smallestWeight = Math.log(1e-8);
const largestWeight = 20;
/** Without a decay the weight of a large ratio would have no bound. */
const leastDecay = 1e-4;

/**
 * e^lambda w^k e^(-lambda w) of the ratio w of each token's sequence, by the sign of its advantage; no gradient (VESPO).
 * w is that of the policy to what was sampled: importance weights are part of it.
 */
export function gammaWeights(
  { logps_N, oldLogps_N, importance, advantages_N, rows }: PolicyGradientInputs,
  { positive, negative }: Extract<PolicyObjective, { name: 'vespo' }>,
): Tensor {
  const segments = need(rows, 'vespo');
  return noGrad(() => {
    const toOld_N = logps_N.detach().sub(oldLogps_N).clamp(-largestWeight, largestWeight);
    let log_R = rowSums(toOld_N, segments);
    if (importance) {
      const toSampler_N = importance.weights_N.log().clamp(smallestWeight, largestWeight);
      log_R = log_R.add((importance.level === 'token' ? rowSums : rowMeans)(toSampler_N, segments));
    }
    const log_N = spreadRows(log_R.clamp(smallestWeight, largestWeight), segments);
    const ratio_N = log_N.exp();
    const weight = ({ k, lambda }: { k: number; lambda: number }) => {
      const decay = Math.max(leastDecay, lambda);
      return log_N.mul(k).sub(ratio_N.mul(decay)).add(decay).exp();
    };
    return where(advantages_N.lt(0), weight(negative), weight(positive));
  });
}

/** -A exp(mean of clipped log-ratios), the same for every token of a sequence. */
function geometricMean(
  { logps_N, oldLogps_N, advantages_N, policyWeights_N, rows }: PolicyGradientInputs,
  { low, high }: PolicyGradientOptions['clip'],
): PolicyTerm {
  const segments = need(rows, 'gmpo');
  const free_N = logps_N.sub(oldLogps_N);
  const bounded_N = free_N.clamp(-low, high);
  const kept_N = where(advantages_N.lt(0), free_N.maximum(bounded_N), free_N.minimum(bounded_N));
  const counted_N = policyWeights_N ? kept_N.mul(policyWeights_N) : kept_N;
  const log_R = policyWeights_N
    ? rowSums(counted_N, segments).div(rowSums(policyWeights_N, segments).clamp(1))
    : rowMeans(kept_N, segments);
  const ratio_N = spreadRows(log_R, segments).exp();
  return {
    loss_N: ratio_N.mul(advantages_N).neg(),
    ...noGrad(() => ({
      clippedLow_N: free_N.detach().lt(-low).logicalAnd(advantages_N.lt(0)),
      clippedHigh_N: free_N.detach().gt(high).logicalAnd(advantages_N.gt(0)),
    })),
  };
}

function need(rows: Rows | undefined, name: string): Rows {
  if (!rows) throw new TypeError(`the objective ${name} needs rows`);
  return rows;
}
