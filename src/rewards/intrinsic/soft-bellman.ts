/**
 * Owns the reward that a frozen teacher's logits hold (maximum-entropy inverse reinforcement learning): logits are soft
 * Q-values, their soft maximum is the value of a state, and a token's reward follows from the inverse Bellman equation.
 * Knows no model and no cache.
 */

import { noGrad, scope, type Tensor } from '../../torch/index.ts';

/**
 * `bellman`: alpha log pi(a_t|s_t) + V(s_t) - gamma V(s_t+1), which is Q(s_t, a_t) - gamma V(s_t+1). `logprob`:
 * alpha log pi alone, all that a remote teacher can give. `centered`: `bellman` on Q minus its mean over the vocabulary
 * at each state, so that a constant added to all logits of a state changes nothing.
 */
export type IntrinsicForm = 'bellman' | 'logprob' | 'centered';

/** What a teacher says of one token: enough for every form, and far less than its logits. */
export interface SoftValues {
  /** Q(s_t, a_t). */
  readonly q: Float64Array;
  /** V(s_t) = alpha logsumexp(Q / alpha). */
  readonly v: Float64Array;
  /** Mean of Q over the vocabulary. */
  readonly mean: Float64Array;
  /** log pi(a_t|s_t) = (Q - V) / alpha, from the logits themselves and not from the rounded Q and V. */
  readonly logp: Float64Array;
}

/**
 * Soft values of chosen tokens from the logits [N, V] that predict them, in the dtype of the logits. The logits must be
 * of one vocabulary for teacher and student: cut them to the tokenizer's size first.
 */
export function softValues(logits_NV: Tensor, targets_N: Tensor, alpha: number): SoftValues {
  return noGrad(() =>
    scope(() => {
      const scaled_NV = alpha === 1 ? logits_NV : logits_NV.div(alpha);
      const index = targets_N.unsqueeze(-1);
      const chosen = (values: Tensor) => values.gather(-1, index).squeeze(-1).toFloat64();
      return {
        q: chosen(logits_NV),
        v: scaled_NV.logsumexp(-1).mul(alpha).toFloat64(),
        mean: logits_NV.mean(-1).toFloat64(),
        logp: chosen(scaled_NV.logSoftmax(-1)),
      };
    }),
  );
}

/** V of states without an action, such as the one after a completion that was cut off. */
export function softStateValues(logits_NV: Tensor, alpha: number): Float64Array {
  return noGrad(() => scope(() => logits_NV.div(alpha).logsumexp(-1).mul(alpha).toFloat64()));
}

/** How a completion ended, for the value of the state after its last token. */
export interface SequenceEnd {
  /** It ended by itself (end of sequence): the value of what follows is 0. */
  readonly terminal: boolean;
  /** V of the state after the last token of a cut-off completion, and its mean of Q; null where it is not known. */
  readonly nextValue: number | null;
  readonly nextMean?: number | null;
}

export interface IntrinsicOptions {
  readonly form: IntrinsicForm;
  readonly alpha: number;
  readonly gamma: number;
}

/** One reward a token; null for the last token of a cut-off completion whose next state the teacher did not see. */
export function intrinsicRewards(
  values: SoftValues,
  end: SequenceEnd,
  { form, alpha, gamma }: IntrinsicOptions,
): (number | null)[] {
  const { v, mean, logp } = values;
  if (form === 'logprob') return Array.from(logp, (value) => alpha * value);
  const own = (t: number) => (form === 'centered' ? v[t]! - mean[t]! : v[t]!);
  return Array.from(logp, (value, t) => {
    const next = t + 1 < v.length ? own(t + 1) : endValue(end, form);
    return next === null ? null : alpha * value + own(t) - gamma * next;
  });
}

function endValue({ terminal, nextValue, nextMean = null }: SequenceEnd, form: IntrinsicForm): number | null {
  if (terminal) return 0;
  if (form !== 'centered') return nextValue;
  return nextValue === null || nextMean === null ? null : nextValue - nextMean;
}
