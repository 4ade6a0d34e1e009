/**
 * Owns the divergences between a student's and a teacher's next-token distributions: whole, and from hidden states in
 * chunks of tokens so that the logits of a batch never exist at once. Knows neither data nor who generated it.
 */

import { backward, noGrad, scope, stack, type Tensor } from '../torch/index.ts';
import { headLogits, type TokenLogpOptions, tokenChunks } from './token-logps.ts';

export interface DivergenceOptions {
  /** 0 is the forward KL(teacher || student), 1 the reverse KL(student || teacher), between them the generalised JSD. */
  readonly beta: number;
}

/**
 * The generalised Jensen-Shannon divergence (Agarwal et al. 2024) by vocabulary entry, [..., V] from log-probabilities
 * of the same shape: its sum over V is a token's divergence. With M = (1 - beta) S + beta T it is
 * beta KL(T || M) + (1 - beta) KL(S || M), and the KL itself at either end.
 */
export function divergenceTerms(student: Tensor, teacher: Tensor, { beta }: DivergenceOptions): Tensor {
  if (beta === 0) return klTerms(teacher, student);
  if (beta === 1) return klTerms(student, teacher);
  const mixture = stack([student.add(Math.log1p(-beta)), teacher.add(Math.log(beta))]).logsumexp(0);
  return klTerms(teacher, mixture)
    .mul(beta)
    .add(klTerms(student, mixture), 1 - beta);
}

/** p (log p - log q). */
function klTerms(logp: Tensor, logq: Tensor): Tensor {
  return logp.exp().mul(logp.sub(logq));
}

/** Hidden states [N, D] and the head [V, D] that turns them into logits. */
export interface PredictingStates {
  readonly hidden_ND: Tensor;
  readonly head_VD: Tensor;
}

export interface DivergenceSums {
  /** sum_t w_t divergence_t. */
  readonly loss: number;
  /** Of the student, summed over tokens without weights, in nats. */
  readonly entropy: number;
  /** The divergence of each token, without weights. */
  readonly perToken: Float32Array;
}

/**
 * Runs backward for the divergence of a student from a teacher on the same tokens, each token's weighted by
 * `weights_N`: accumulates the gradient of every parameter behind the student's hidden states and of its head. The
 * teacher gets none. Both are softened by the temperature; `vocabulary` restricts both to the rows that they share.
 */
export function backwardThroughDivergence(
  student: PredictingStates,
  teacher: PredictingStates,
  weights_N: Tensor,
  options: DivergenceOptions & TokenLogpOptions,
): DivergenceSums {
  const sums = { loss: 0, entropy: 0, perToken: new Float32Array(student.hidden_ND.size(0)) };
  scope(() => {
    const leaf = student.hidden_ND.detach().requiresGrad_();
    for (const [start, length] of tokenChunks(leaf.size(0), student.head_VD, options)) {
      scope(() => {
        const part = (states: Tensor, head_VD: Tensor) =>
          headLogits(states.narrow(0, start, length), head_VD, options).logSoftmax(-1);
        const teacher_NV = noGrad(() => part(teacher.hidden_ND, teacher.head_VD));
        const student_NV = part(leaf, student.head_VD);
        const perToken_N = divergenceTerms(student_NV, teacher_NV, options).sum(-1);
        const loss = perToken_N.mul(weights_N.narrow(0, start, length)).sum();
        backward(loss);
        sums.loss += loss.item();
        sums.perToken.set(perToken_N.detach().toFloat32(), start);
        sums.entropy -= noGrad(() => student_NV.exp().mul(student_NV).sum().item());
      });
    }
    const gradient = leaf.grad;
    if (gradient) backward(student.hidden_ND, gradient);
  });
  return sums;
}
