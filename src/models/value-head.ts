/** Owns the value head: one number a hidden state, beside the head that gives logits. Knows no loss and no files. */

import { like, Module } from '../nn/index.ts';
import { scope, type Tensor, zeros } from '../torch/index.ts';

/** V(s) = w h + b in f32, as one more head on a decoder's trunk. It begins at 0 everywhere and owns its parameters. */
export class ValueHead extends Module {
  private readonly weight_1D: Tensor;
  private readonly bias: Tensor;

  /** For hidden states of `width` numbers. */
  constructor(width: number, device: string) {
    super();
    const zero = (shape: readonly number[]) =>
      scope(() => zeros(shape, 'f32', device).requiresGrad_().keep());
    this.weight_1D = this.parameter('weight', zero([1, width]));
    this.bias = this.parameter('bias', zero([1]));
  }

  /** Values [N] of hidden states [N, D], with a graph. */
  forward(hidden_ND: Tensor): Tensor {
    return like(hidden_ND, this.weight_1D).linear(this.weight_1D, this.bias).squeeze(-1);
  }
}
