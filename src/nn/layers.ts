/** Owns the leaf layers of a decoder: Linear, Embedding and RMSNorm; their weights may be wider than their inputs. */

import { dtypeCode, invoke, Op, type Tensor } from '../torch/index.ts';
import { Module, takeParameter } from './module.ts';

const vectorNormOp = new Op('aten::linalg_vector_norm');

/** y = x W^T + b, computed in the dtype of x: f32 master weights are cast to bf16 inputs in the graph. */
export class Linear extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor | null;

  constructor(
    state: ReadonlyMap<string, Tensor>,
    path: string,
    sizes: { in: number; out: number; bias: boolean },
  ) {
    super();
    this.weight = this.parameter('weight', takeParameter(state, `${path}.weight`, [sizes.out, sizes.in]));
    this.bias = sizes.bias ? this.parameter('bias', takeParameter(state, `${path}.bias`, [sizes.out])) : null;
  }

  forward(x: Tensor): Tensor {
    return x.linear(like(this.weight, x), this.bias && like(this.bias, x));
  }
}

/** Rows of a table [V, D] by id. */
export class Embedding extends Module {
  readonly weight: Tensor;

  constructor(state: ReadonlyMap<string, Tensor>, path: string, sizes: { rows: number; width: number }) {
    super();
    this.weight = this.parameter('weight', takeParameter(state, `${path}.weight`, [sizes.rows, sizes.width]));
  }
}

/** Root mean square normalisation (Zhang and Sennrich 2019): statistics in f32, as the reference stack has them. */
export class RMSNorm extends Module {
  readonly weight: Tensor;
  readonly epsilon: number;

  constructor(state: ReadonlyMap<string, Tensor>, path: string, width: number, epsilon: number) {
    super();
    this.weight = this.parameter('weight', takeParameter(state, `${path}.weight`, [width]));
    this.epsilon = epsilon;
  }

  /** x / rms(x) * weight over the last dimension, in the dtype of x. */
  forward(x: Tensor): Tensor {
    return this.normalise(x).mul(like(this.weight, x));
  }

  /** x / rms(x), without the weight. */
  normalise(x: Tensor): Tensor {
    const norm = invoke(vectorNormOp, x.handle, 2, [-1], true, dtypeCode('f32'));
    const scale = norm
      .square()
      .mul(1 / x.size(-1))
      .add(this.epsilon)
      .rsqrt();
    return x.mul(like(scale, x));
  }
}

/** The weight in the dtype of an activation. */
export function like(weight: Tensor, x: Tensor): Tensor {
  return weight.dtype === x.dtype ? weight : weight.to(x.dtype);
}
