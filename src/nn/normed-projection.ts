/**
 * Owns a normalisation followed by linear layers as one product: the norm's weight is folded into the matrices, and
 * the matrices are joined. On small models that saves most of the time that is not in the products themselves.
 */

import {
  cat,
  type DType,
  folded,
  type Int8Matrix,
  kernelsServe,
  type PackedProduct,
  packedLinear,
  product,
  scope,
  Tensor,
} from '../torch/index.ts';
import type { Linear, RMSNorm } from './layers.ts';
import { PackedCopy } from './packed-copy.ts';

/** Matrices joined for a model that is only read. */
interface Joined {
  /** Null once it is there only packed. */
  readonly weight: Tensor | Int8Matrix | null;
  readonly bias: Tensor | null;
  /** Whether the norm's weight is in it. */
  readonly folded: boolean;
}

/** y = [W1; W2; ...] (x / rms(x) * w) + [b1; b2; ...]; owns no parameters, only the joined copy that `freeze` makes. */
export class NormedProjection implements Disposable {
  private readonly norm: RMSNorm;
  private readonly linears: readonly Linear[];
  private frozen: Joined | undefined;
  private readonly packing = new PackedCopy();

  constructor(norm: RMSNorm, linears: readonly Linear[]) {
    this.norm = norm;
    this.linears = linears;
  }

  /** The outputs of all layers side by side in the last dimension. */
  forward(x: Tensor): Tensor {
    if (this.frozen) {
      const { weight, bias, folded } = this.frozen;
      const normed = folded ? this.norm.normalise(x) : this.norm.forward(x);
      if (!weight) return packedLinear(normed, this.packing.current!, bias);
      return product(normed, weight, bias);
    }
    if (this.isTrained) {
      const { weight, bias } = this.join(x.dtype);
      return product(this.norm.normalise(x), weight, bias);
    }
    // Weights that are only read once are not worth a joined copy.
    const normed = this.norm.forward(x);
    const widening = this.linears.find((linear) => linear.lowRank && !linear.isWhole(normed));
    const wide = widening?.lowRank?.widened(normed);
    return cat(
      this.linears.map((linear) => linear.forward(normed, wide)),
      -1,
    );
  }

  /** `forward` for the rows [N, in] of a decoding step. */
  step(x: Tensor): Tensor {
    const frozen = this.packedFor(x);
    if (frozen) {
      const normed = frozen.folded ? this.norm.stepNormalise(x) : this.norm.step(x);
      return packedLinear(normed, frozen.matrix, frozen.bias);
    }
    if (this.frozen || this.isTrained) return this.forward(x);
    const normed = this.norm.step(x);
    return cat(
      this.linears.map((linear) => linear.step(normed)),
      -1,
    );
  }

  /** The joined product that `step` goes by for rows like x, and whether the norm's weight is in it; null where it does not. */
  packedFor(x: Tensor): (PackedProduct & { readonly folded: boolean }) | null {
    if (!this.frozen || !kernelsServe(x)) return null;
    const { weight, bias, folded } = this.frozen;
    return { matrix: weight ? this.packing.of(weight, x.dtype) : this.packing.current!, bias, folded };
  }

  private get isTrained(): boolean {
    return this.linears.every(({ learnsWeight }) => learnsWeight);
  }

  /**
   * Joins own weights in 8 bit, once for all, for a model that is only read; the layers then have views of the joined
   * matrix. False where not all weights are in 8 bit.
   */
  joinInt8(dtype: DType): boolean {
    const parts = this.linears.flatMap(({ int8, lowRank }) => (int8 && !lowRank ? [int8] : []));
    if (parts.length < this.linears.length) return false;
    const values = cat(parts.map((part) => part.values)).keep();
    const scales = cat(parts.map((part) => part.scales)).keep();
    const biases = this.linears.flatMap(({ bias }) => (bias ? [bias] : []));
    const bias = biases.length > 0 ? scope(() => cat(biases).to(dtype)).keep() : null;
    this.frozen = { weight: { values, scales }, bias, folded: false };
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
    const [weight, bias] = [joined.weight.detach().keep(), joined.bias?.detach().keep() ?? null];
    this.frozen = { weight, bias, folded: true };
    joined.weight.dispose();
    joined.bias?.dispose();
  }

  /** Keeps the joined matrix packed, and nothing of it beside, for a model that is only read by inputs of `dtype`. */
  keepPacked(dtype: DType): void {
    const { frozen } = this;
    const device = this.norm.weight.device;
    if (!frozen?.weight || !kernelsServe({ dtype, device })) return;
    this.packing.of(frozen.weight, dtype);
    disposeMatrix(frozen.weight);
    this.frozen = { ...frozen, weight: null };
    for (const linear of this.linears) linear.releaseWeight();
  }

  /** Frees the packed copies that decoding has made of what is there in another form. */
  forgetPacked(): void {
    if (this.frozen?.weight) this.packing[Symbol.dispose]();
  }

  /** Folds in the dtype of the weights and casts last, so that every reader of the same weights gets the same bits. */
  private join(dtype: DType): { weight: Tensor; bias: Tensor | null } {
    const biases = this.linears.flatMap(({ bias }) => (bias ? [bias] : []));
    const weight = folded(this.linears.map(withUpdate), this.norm.weight, dtype);
    const bias = biases.length > 0 ? cat(biases) : null;
    return { weight, bias: bias?.to(dtype) ?? null };
  }

  [Symbol.dispose](): void {
    this.packing[Symbol.dispose]();
    this.frozen?.bias?.dispose();
    if (this.frozen?.weight) disposeMatrix(this.frozen.weight);
  }
}

function disposeMatrix(matrix: Tensor | Int8Matrix): void {
  for (const part of matrix instanceof Tensor ? [matrix] : [matrix.values, matrix.scales]) part.dispose();
}

function withUpdate({ weight, lowRank }: Linear): Tensor {
  return lowRank ? lowRank.effective(weight) : weight;
}
