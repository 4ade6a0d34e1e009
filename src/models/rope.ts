/** Owns rotary position embeddings (Su et al. 2021) in the half-split layout of Hugging Face checkpoints. */

import { arange, cat, type DType, type Rotation, scope, stack, type Tensor, tensor } from '../torch/index.ts';
import type { ModelConfig, RopeScaling } from './config.ts';

const smallest = 512;

/** cos and signed sin by position, [positions, headDim]; the first half of `sin` carries the minus of rotate_half. */
export class RopeTables implements Disposable {
  /** headDim / 2 frequencies, radians a position. */
  readonly frequencies: readonly number[];
  private readonly longest: number;
  private readonly device: string;
  /** Both tables in the dtype that decoding asks for. */
  private stacked: Tensor | undefined;
  private table: { readonly cos: Tensor; readonly sin: Tensor; readonly length: number } | undefined;

  constructor(
    config: Pick<ModelConfig, 'headDim' | 'ropeTheta' | 'ropeScaling' | 'maxPositions'>,
    device = 'cpu',
  ) {
    const { headDim, ropeTheta, ropeScaling } = config;
    this.longest = config.maxPositions;
    this.device = device;
    // The reference stack rounds every frequency to f32.
    this.frequencies = Array.from({ length: headDim / 2 }, (_, i) => {
      const frequency = Math.fround(1 / ropeTheta ** ((2 * i) / headDim));
      return ropeScaling ? Math.fround(scaled(frequency, ropeScaling)) : frequency;
    });
    this.reserve(1);
  }

  /** Makes sure of the positions 0 to `length` - 1; tables grow by doubling, and are small for a model that can do more. */
  reserve(length: number): void {
    this.upToLength(length);
  }

  /** Rows 0 to `length` - 1 as [1, length, 1, headDim], for x of [B, T, heads, headDim]. */
  upTo(length: number, like: Tensor): Rotation {
    const { cos, sin } = this.upToLength(length);
    return scope(() => ({
      cos: cos.narrow(0, 0, length).unsqueeze(1).unsqueeze(0).to(like.dtype),
      sin: sin.narrow(0, 0, length).unsqueeze(1).unsqueeze(0).to(like.dtype),
    }));
  }

  /** The rows of positions of any shape [...] as [..., 1, headDim]; they must have been reserved. */
  at(positions: Tensor, like: Tensor): Rotation {
    const { cos, sin } = this.upToLength(1);
    const rows = (table: Tensor) =>
      table
        .indexSelect(0, positions.reshape([-1]))
        .view([...positions.shape, 1, table.size(1)])
        .to(like.dtype);
    return scope(() => ({ cos: rows(cos), sin: rows(sin) }));
  }

  /** Cosines and signed sines [2, N, headDim] of positions [N], which must have been reserved. */
  rows(positions_N: Tensor, dtype: DType): Tensor {
    const { cos, sin } = this.upToLength(1);
    if (this.stacked?.dtype !== dtype) {
      this.stacked?.dispose();
      this.stacked = scope(() => stack([cos, sin]).to(dtype)).keep();
    }
    return this.stacked.indexSelect(1, positions_N);
  }

  private upToLength(length: number): { readonly cos: Tensor; readonly sin: Tensor } {
    if (this.table && this.table.length >= length) return this.table;
    const wanted = Math.max(smallest, length, 2 * (this.table?.length ?? 0));
    const rows = Math.max(length, Math.min(wanted, this.longest));
    this[Symbol.dispose]();
    const made = scope(() => {
      const frequencies = tensor([...this.frequencies], { device: this.device });
      const positions = arange(0, rows, 'i64', this.device).to('f32');
      const angles = positions.unsqueeze(1).mul(frequencies.unsqueeze(0));
      const [cos, sin] = [angles.cos(), angles.sin()];
      return { cos: cat([cos, cos], -1), sin: cat([sin.neg(), sin], -1) };
    });
    this.table = { cos: made.cos.keep(), sin: made.sin.keep(), length: rows };
    return this.table;
  }

  [Symbol.dispose](): void {
    this.table?.cos.dispose();
    this.table?.sin.dispose();
    this.stacked?.dispose();
    this.table = undefined;
    this.stacked = undefined;
  }
}

/** Llama 3: short wavelengths stay, long ones are stretched, those between are mixed. */
function scaled(frequency: number, scaling: RopeScaling): number {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalMaxPositions } = scaling;
  const turns = (originalMaxPositions * frequency) / (2 * Math.PI);
  if (turns > high) return frequency;
  if (turns < low) return frequency / factor;
  const kept = (turns - low) / (high - low);
  return (1 - kept) * (frequency / factor) + kept * frequency;
}
