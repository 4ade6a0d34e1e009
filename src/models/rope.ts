/** Owns rotary position embeddings (Su et al. 2021) in the half-split layout of Hugging Face checkpoints. */

import { invoke, Op, scope, type Tensor, tensor } from '../torch/index.ts';

const rollOp = new Op('aten::roll');
const addcmulOp = new Op('aten::addcmul');

/** cos and signed sin by position, [positions, headDim]; the first half of `sin` carries the minus of rotate_half. */
export class RopeTables implements Disposable {
  readonly cos: Tensor;
  readonly sin: Tensor;

  constructor(headDim: number, theta: number, positions: number, device = 'cpu') {
    const half = headDim / 2;
    const cos: number[] = [];
    const sin: number[] = [];
    for (let position = 0; position < positions; position++) {
      for (let i = 0; i < headDim; i++) {
        // The reference stack rounds the frequency to f32 and the product again.
        const frequency = Math.fround(1 / theta ** ((2 * (i % half)) / headDim));
        const angle = Math.fround(position * frequency);
        cos.push(Math.cos(angle));
        sin.push(i < half ? -Math.sin(angle) : Math.sin(angle));
      }
    }
    this.cos = tensor(cos, { shape: [positions, headDim], device }).keep();
    this.sin = tensor(sin, { shape: [positions, headDim], device }).keep();
  }

  /** Rows 0 to `length` - 1 as [1, length, 1, headDim], for x of [B, T, heads, headDim]. */
  upTo(length: number, like: Tensor): Rotation {
    return scope(() => ({
      cos: this.cos.narrow(0, 0, length).unsqueeze(1).unsqueeze(0).to(like.dtype),
      sin: this.sin.narrow(0, 0, length).unsqueeze(1).unsqueeze(0).to(like.dtype),
    }));
  }

  /** The rows of each sequence's own position [B] as [B, 1, headDim], for x of [B, heads, headDim]. */
  at(positions_B: Tensor, like: Tensor): Rotation {
    return scope(() => ({
      cos: this.cos.indexSelect(0, positions_B).unsqueeze(1).to(like.dtype),
      sin: this.sin.indexSelect(0, positions_B).unsqueeze(1).to(like.dtype),
    }));
  }

  [Symbol.dispose](): void {
    this.cos.dispose();
    this.sin.dispose();
  }
}

/** cos and signed sin, broadcastable to what they rotate. */
export interface Rotation {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** Rotates the last dimension of x: x cos + swapHalves(x) sin. */
export function rotate(x: Tensor, rotation: Rotation): Tensor {
  const swapped = invoke(rollOp, x.handle, [x.size(-1) / 2], [-1]);
  return invoke(addcmulOp, x.mul(rotation.cos).handle, swapped.handle, rotation.sin.handle);
}
