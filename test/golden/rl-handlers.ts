/** Owns the golden cases of advantages and of the policy-gradient loss. */

import {
  decoupledAdvantages,
  groupAdvantages,
  leaveOneOutAdvantages,
  type MaybeReward,
} from '../../src/advantages/index.ts';
import { lossWeights, policyGradientLoss } from '../../src/losses/index.ts';
import { backward, type DType, scope, type Tensor, tensor } from '../../src/torch/index.ts';
import { type Case, chunked, type Handlers, type Tensors } from './case.ts';

export const rlHandlers: Handlers = {
  'grpo.advantages': ({ params }, inputs) => {
    const rows = rewardRows(inputs);
    const size: number = params['num_generations'];
    const epsilon: number = params['eps'];
    const { advantages } =
      params['multi_objective_aggregation'] === 'normalize_then_sum'
        ? decoupledAdvantages(chunked(rows, size), params['reward_weights'], { epsilon })
        : groupAdvantages(chunked(totals(rows, params['reward_weights']), size), {
            scale: params['scale_rewards'],
            epsilon,
            ddof: params['ddof'],
          });
    return { advantages: advantages.flat(), advantages_f64: advantages.flat() };
  },
  rloo: ({ params }, inputs) => {
    const kl = sequenceKl(inputs);
    const [least, most] = params['reward_clip_range'] ?? [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
    const scores = totals(rewardRows(inputs), params['reward_weights']).map((total, b) =>
      total === null ? null : Math.min(most, Math.max(least, total)) - params['beta'] * (kl[b] ?? 0),
    );
    const { advantages } = leaveOneOutAdvantages(chunked(scores, params['num_generations']), {
      normalize: params['normalize_advantages'],
      epsilon: params['eps'],
    });
    return { advantages: advantages.flat(), advantages_f64: advantages.flat() };
  },
  'grpo.loss': (one, inputs) => {
    const reason = whyNotOurs(one);
    if (reason !== null) return reason;
    const single = policyLoss(one, inputs, 'f32');
    const double = policyLoss(one, inputs, 'f64');
    return {
      loss: single.loss,
      grad_per_token_logps: single.gradient,
      loss_f64: double.loss,
      grad_per_token_logps_f64: double.gradient,
    };
  },
};

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

const plain: Readonly<Record<string, unknown>> = {
  importance_sampling_level: 'token',
  delta: null,
  top_entropy_quantile: 1,
  entropy_coef: 0,
  off_policy_mask_threshold: null,
  num_processes: 1,
};

function whyNotOurs({ params }: Case): string | null {
  if (!['grpo', 'bnpo', 'dr_grpo', 'dapo'].includes(params['loss_type']))
    return `loss ${params['loss_type']}`;
  for (const [name, value] of Object.entries(plain)) {
    if (params[name] !== value) return `${name} is not built yet`;
  }
  if (params['beta'] === 0) return null;
  if (params['use_bias_correction_kl']) return 'a KL multiplied by the ratio is not built yet';
  return params['importance_sampling_ratio'] === null ? null : 'importance weights beside a KL';
}

/** The loss of the case's one micro-batch, and its gradient by token of the rectangle. */
function policyLoss(one: Case, inputs: Tensors, dtype: DType): { loss: number; gradient: Float64Array } {
  const { params } = one;
  return scope(() => {
    const logps = inputs.get('per_token_logps')!.to(dtype);
    const [rows, width] = logps.shape as [number, number];
    const tokensOf = (name: string) => inputs.get(name)?.to(dtype).expand([rows, width]);
    const whole = (value: Tensor) => value.to(dtype).expand([rows, width]);
    const mask = tokensOf('completion_mask')!.mul(tokensOf('tool_mask') ?? 1);
    const advantages = inputs.get('advantages')!;
    const lengths = [...mask.sum(1).toFloat64()];
    const weights = whole(tensor(weightsOf(one, lengths), { dtype: 'f64', shape: [rows, 1] }).to(dtype)).mul(
      mask,
    );
    const leaf = logps.clone().requiresGrad_();
    const { loss } = policyGradientLoss(
      {
        logps_N: leaf,
        oldLogps_N: tokensOf('old_per_token_logps') ?? leaf.detach(),
        referenceLogps_N: tokensOf('ref_per_token_logps') ?? null,
        advantages_N: whole(advantages.shape.length === 1 ? advantages.unsqueeze(1) : advantages),
        weights_N: weights.mul(tokensOf('importance_sampling_ratio') ?? 1),
      },
      {
        clip: { low: params['epsilon_low'], high: params['epsilon_high'] },
        kl: { beta: params['beta'], estimator: 'k3' },
      },
    );
    backward(loss);
    return { loss: loss.item(), gradient: leaf.grad!.toFloat64() };
  });
}

/** `lossWeights` by TRL's names: all but dapo are of one micro-batch and divided by the number of them. */
function weightsOf({ params }: Case, lengths: readonly number[]): number[] {
  const accumulation: number = params['mode'] === 'train' ? params['current_gradient_accumulation_steps'] : 1;
  if (params['loss_type'] === 'dapo') {
    const batches = params['current_gradient_accumulation_steps'] / params['steps_per_generation'];
    return lengths.map(() => 1 / (params['num_items_in_batch'] * batches));
  }
  const denominator = ({ grpo: 'sequences', bnpo: 'tokens', dr_grpo: 'constant' } as const)[
    params['loss_type'] as 'grpo' | 'bnpo' | 'dr_grpo'
  ];
  return lossWeights(lengths, denominator, params['max_completion_length']).map(
    (weight) => weight / accumulation,
  );
}
