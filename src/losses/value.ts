/** Owns the loss of a value function (Schulman et al. 2017), clipped around what it said before. Knows no model. */

import { noGrad, type Tensor } from '../torch/index.ts';

/** One number a token for everything; all [N] and of one dtype. */
export interface ValueInputs {
  readonly values_N: Tensor;
  /** Of the value function that the advantages were made with. */
  readonly oldValues_N: Tensor;
  readonly returns_N: Tensor;
  /** What each token's loss is multiplied with before the sum; 1 / tokens gives the mean. */
  readonly weights_N: Tensor;
}

export interface ValueLoss {
  /** 1/2 sum_t w_t max((V - R)^2, (clip(V) - R)^2): a scalar with a graph. */
  readonly loss: Tensor;
  /** 1 where the clipped error was the larger one, detached. */
  readonly clipped_N: Tensor;
}

/** The loss of one micro-batch; `clip` null leaves the plain squared error. */
export function valueLoss(inputs: ValueInputs, clip: number | null): ValueLoss {
  const { values_N, oldValues_N, returns_N, weights_N } = inputs;
  const plain_N = values_N.sub(returns_N).square();
  if (clip === null) {
    const none = noGrad(() => plain_N.detach().lt(0));
    return { loss: plain_N.mul(weights_N).sum().mul(0.5), clipped_N: none };
  }
  const near_N = oldValues_N.add(values_N.sub(oldValues_N).clamp(-clip, clip));
  const bounded_N = near_N.sub(returns_N).square();
  return {
    loss: plain_N.maximum(bounded_N).mul(weights_N).sum().mul(0.5),
    clipped_N: noGrad(() => plain_N.detach().lt(bounded_N.detach())),
  };
}
