/** Owns the golden cases of advantages, and of RLOO whole. */

import {
  type AdvantageScale,
  decoupledAdvantages,
  groupAdvantages,
  leaveOneOutAdvantages,
  type MaybeReward,
} from '../../src/advantages/index.ts';
import {
  lossWeights,
  type PolicyGradientOptions,
  policyGradientLoss,
  rowSums,
} from '../../src/losses/index.ts';
import { backward, type DType, scope } from '../../src/torch/index.ts';
import { mean, std } from '../../src/util/statistics.ts';
import { type Case, chunked, type Got, type Handlers, type Tensors } from './case.ts';
import { Flat, metricsOf } from './policy-handlers.ts';

export const rlHandlers: Handlers = {
  'grpo.advantages': ({ params }, inputs) => {
    const { advantages, metrics } = scoredGroups(params, rewardRows(inputs));
    return { advantages, advantages_f64: advantages, metrics, metrics_f64: metrics };
  },
  rloo: (one, inputs) => {
    const { params } = one;
    const { advantages, metrics } = scoredLeavingOneOut(params, rewardRows(inputs), sequenceKl(inputs));
    const single = rlooLoss(one, inputs, advantages, 'f32');
    const double = rlooLoss(one, inputs, advantages, 'f64');
    return {
      ...single,
      loss_f64: double['loss'],
      grad_per_token_logps_f64: double['grad_per_token_logps'],
      advantages,
      advantages_f64: advantages,
      score_metrics: {
        ...metrics,
        ...(params['beta'] === 0 ? {} : { kl: tokenMean(sequenceKl(inputs), inputs) }),
      },
    };
  },
};

/** Advantages of groups, and what TRL logs of their rewards. */
export interface ScoredRewards {
  readonly advantages: readonly number[];
  readonly metrics: Got;
}

/** GRPO's advantages of rewards [sample][function], and GDPO's. */
export function scoredGroups(params: Case['params'], rows: readonly MaybeReward[][]): ScoredRewards {
  const size: number = params['num_generations'];
  const epsilon: number = params['eps'] ?? 1e-4;
  const weights = rewardWeights(params, rows);
  const scale: AdvantageScale = params['scale_rewards'] ?? 'group';
  const decoupled = params['multi_objective_aggregation'] === 'normalize_then_sum';
  const total = totals(rows, weights);
  const found = decoupled
    ? decoupledAdvantages(chunked(rows, size), weights, { epsilon })
    : groupAdvantages(chunked(total, size), { scale, epsilon, ddof: params['ddof'] ?? 1 });
  const advantages = found.advantages.flat();
  // Where TRL divides by the batch's std, it is that std which it counts as zero or not.
  const close = (value: number) => Math.abs(value) <= 1e-8;
  const known = total.filter((value) => value !== null);
  const flatBatch = decoupled ? known.length > 1 && advantages.every(close) : close(found.rewardStd);
  const wholeBatch = decoupled || scale === 'batch';
  const noSpread = wholeBatch ? Number(flatBatch) : found.noSpreadShare;
  return { advantages, metrics: { ...rewardMetrics(rows, total), frac_reward_zero_std: noSpread } };
}

/** RLOO's, of rewards clipped and less the summed KL of each sequence. */
export function scoredLeavingOneOut(
  params: Case['params'],
  rows: readonly MaybeReward[][],
  kl: readonly number[],
): ScoredRewards {
  const total = totals(rows, rewardWeights(params, rows));
  const [least, most] = params['reward_clip_range'] ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  const scores = total.map((reward, b) =>
    reward === null ? null : Math.min(most, Math.max(least, reward)) - params['beta'] * (kl[b] ?? 0),
  );
  const found = leaveOneOutAdvantages(chunked(scores, params['num_generations']), {
    normalize: params['normalize_advantages'],
    epsilon: params['eps'] ?? 1e-4,
  });
  return {
    advantages: found.advantages.flat(),
    metrics: { ...rewardMetrics(rows, total), frac_reward_zero_std: found.noSpreadShare },
  };
}

function rewardWeights(params: Case['params'], rows: readonly MaybeReward[][]): number[] {
  return params['reward_weights'] ?? rows[0]!.map(() => 1);
}

/** Means and standard deviations of the total and of each function, of what was scored. */
export function rewardMetrics(rows: readonly MaybeReward[][], total: readonly MaybeReward[]): Got {
  const known = (values: readonly MaybeReward[]) => values.filter((value) => value !== null);
  const columns = rows[0]!.map((_, k) => known(rows.map((row) => row[k]!)));
  return {
    reward: mean(known(total)),
    reward_std: std(known(total), 1),
    ...Object.fromEntries(
      columns.flatMap((values, k) => [
        [`rewards/reward_${k}/mean`, mean(values)],
        [`rewards/reward_${k}/std`, std(values, 1)],
      ]),
    ),
  };
}

/** Sums of sequences over all tokens. */
function tokenMean(sums: readonly number[], inputs: Tensors): number {
  const tokens = inputs
    .get('completion_mask')!
    .toFloat64()
    .reduce((sum, value) => sum + value, 0);
  return sums.reduce((sum, value) => sum + value, 0) / tokens;
}

/** One ratio a sequence, of the summed log-probabilities; a plain mean over sequences. */
function rlooLoss({ params }: Case, inputs: Tensors, advantages: readonly number[], dtype: DType): Got {
  return scope(() => {
    const flat = new Flat(inputs.get('completion_mask')!, dtype);
    const logps_N = flat.of(inputs.get('per_token_logps'))!.clone().detach().requiresGrad_();
    const oldLogps_N = flat.of(inputs.get('old_per_token_logps'))!;
    const options: PolicyGradientOptions = {
      ratioLevel: 'sequence-product',
      clip: { low: params['epsilon_low'], high: params['epsilon_high'] },
      kl: { beta: 0, estimator: 'k1' },
    };
    const result = policyGradientLoss(
      {
        logps_N,
        oldLogps_N,
        referenceLogps_N: null,
        advantages_N: flat.spread(advantages),
        weights_N: flat.spread(lossWeights(flat.lengths, 'sequences', 1)),
        rows: flat.rows,
      },
      options,
    );
    backward(result.loss);
    return {
      loss: result.loss.item(),
      grad_per_token_logps: flat.unflatten(logps_N.grad!.toFloat64()),
      old_logps: rowSums(oldLogps_N, flat.rows).toFloat64(),
      loss_metrics: {
        ...metricsOf(flat, result, options),
        entropy: flat.meanOf(flat.of(inputs.get('entropies'))!.toFloat64()),
      },
    };
  });
}

/** One row a sample, one reward a function; null where the function gave none. */
function rewardRows(inputs: Tensors): MaybeReward[][] {
  const matrix = inputs.get('rewards_per_func')!;
  return chunked([...matrix.toFloat64()], matrix.size(1)).map((row) =>
    row.map((value) => (Number.isNaN(value) ? null : value)),
  );
}

function totals(rows: readonly MaybeReward[][], weights: readonly number[]): MaybeReward[] {
  return rows.map((row) => {
    if (row.every((value) => value === null)) return null;
    return row.reduce<number>((sum, value, k) => sum + (value === null ? 0 : weights[k]! * value), 0);
  });
}

/** k1 summed over each sequence's tokens, of the policy that sampled. */
function sequenceKl(inputs: Tensors): number[] {
  return scope(() => {
    const [old, reference, mask] = ['old_per_token_logps', 'ref_per_token_logps', 'completion_mask'].map(
      (name) => inputs.get(name)?.to('f64'),
    );
    return old && reference ? [...old.sub(reference).mul(mask!).sum(1).toFloat64()] : [];
  });
}
