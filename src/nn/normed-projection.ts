/**
 * Owns a normalisation followed by linear layers as one product: the norm's weight is folded into the matrices, and
 * the matrices are joined. On small models that saves most of the time that is not in the products themselves.
 */

import {
  cat,
  type DType,
  type Int8Matrix,
  int8Linear,
  int8Rows,
  linearRows,
  scope,
  type Tensor,
} from '../torch/index.ts';
import type { Linear, RMSNorm } from './layers.ts';

/** y = [W1; W2; ...] (x / rms(x) * w) + [b1; b2; ...]; owns no parameters, only the joined copy that `freeze` makes. */
export class NormedProjection implements Disposable {
  private readonly norm: RMSNorm;
  private readonly linears: readonly Linear[];
  private frozen: { readonly weight: Tensor; readonly bias: Tensor | null } | undefined;
  private joinedInt8: { readonly weight: Int8Matrix; readonly bias: Tensor | null } | undefined;

  constructor(norm: RMSNorm, linears: readonly Linear[]) {
    this.norm = norm;
    this.linears = linears;
  }

  /** The outputs of all layers side by side in the last dimension. */
  forward(x: Tensor): Tensor {
    if (this.frozen || this.isTrained) {
      const { weight, bias } = this.frozen ?? this.join(x.dtype);
      return this.norm.normalise(x).linear(weight, bias);
    }
    if (this.joinedInt8)
      return int8Linear(this.norm.forward(x), this.joinedInt8.weight, this.joinedInt8.bias);
    // Weights that are only read once are not worth a joined copy.
    const normed = this.norm.forward(x);
    const wide = this.linears.find(({ lowRank }) => lowRank)?.lowRank?.widened(normed);
    return cat(
      this.linears.map((linear) => linear.forward(normed, wide)),
      -1,
    );
  }

  /** `forward` for the rows [N, in] of a decoding step. */
  step(x: Tensor): Tensor {
    if (this.joinedInt8) return int8Rows(this.norm.step(x), this.joinedInt8.weight, this.joinedInt8.bias);
    if (this.frozen) return linearRows(this.norm.stepNormalise(x), this.frozen.weight, this.frozen.bias);
    if (this.isTrained) return this.forward(x);
    const normed = this.norm.step(x);
    const wide = this.linears.find(({ lowRank }) => lowRank)?.lowRank?.widened(normed) ?? null;
    return cat(
      this.linears.map((linear) => linear.step(normed, null, wide)),
      -1,
    );
  }

  private get isTrained(): boolean {
    return this.linears.every(({ learnsWeight }) => learnsWeight);
  }

  /**
   * Joins own weights in 8 bit, once for all, for a model that is only read; the layers then have views of the joined
   * matrix. False where not all weights are in 8 bit.
   */
  joinInt8(): boolean {
    const parts = this.linears.flatMap(({ int8, lowRank }) => (int8 && !lowRank ? [int8] : []));
    if (parts.length < this.linears.length) return false;
    const values = cat(parts.map((part) => part.values)).keep();
    const scales = cat(parts.map((part) => part.scales)).keep();
    const biases = this.linears.flatMap(({ bias }) => (bias ? [bias] : []));
    this.joinedInt8 = { weight: { values, scales }, bias: biases.length > 0 ? cat(biases).keep() : null };
    let first = 0;
    for (const [i, linear] of this.linears.entries()) {
      const count = parts[i]!.scales.size(0);
      linear.moveInt8({ values: values.narrow(0, first, count), scales: scales.narrow(0, first, count) });
      first += count;
    }
    return true;
  }

  /** Joins the weights of `source`, of the same shape, its adapter merged, once for all: for a model that is only read. */
  freezeFrom(source: NormedProjection, dtype: DType): void {
    const joined = scope(() => source.join(dtype));
    this.frozen = { weight: joined.weight.detach().keep(), bias: joined.bias?.detach().keep() ?? null };
    joined.weight.dispose();
    joined.bias?.dispose();
  }

  /** Folds in the dtype of the weights and casts last, so that every reader of the same weights gets the same bits. */
  private join(dtype: DType): { weight: Tensor; bias: Tensor | null } {
    const biases = this.linears.flatMap(({ bias }) => (bias ? [bias] : []));
    const weight = cat(this.linears.map(withUpdate)).mul(this.norm.weight);
    const bias = biases.length > 0 ? cat(biases) : null;
    return { weight: weight.to(dtype), bias: bias?.to(dtype) ?? null };
  }

  [Symbol.dispose](): void {
    this.frozen?.weight.dispose();
    this.frozen?.bias?.dispose();
    this.joinedInt8?.weight.values.dispose();
    this.joinedInt8?.weight.scales.dispose();
    this.joinedInt8?.bias?.dispose();
  }
}

function withUpdate({ weight, lowRank }: Linear): Tensor {
  return lowRank ? lowRank.effective(weight) : weight;
}
