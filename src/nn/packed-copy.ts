/** Owns copies of weights in another layout for decoding, made when first asked for and anew once the weight has changed. */

import { type DType, type Int8Matrix, Op, type PackedMatrix, packed, scope, Tensor } from '../torch/index.ts';

const versionOp = new Op('aten::_version');

type Weight = Tensor | Int8Matrix;

interface Copy<C> {
  readonly made: C;
  readonly of: Tensor;
  readonly version: number;
  readonly dtype: DType;
}

/** At most one copy, of the weight it was last asked for. */
abstract class CurrentCopy<C, W extends Weight> implements Disposable {
  private copy: Copy<C> | null = null;

  protected abstract make(weight: W, dtype: DType): C;
  protected abstract free(made: C): void;

  /**
   * The weight as it is now, for inputs of `dtype`. That it has changed is seen by autograd's own count of writes, which an
   * optimizer's step raises; so the copy is never older than the weight.
   */
  of(weight: W, dtype: DType): C {
    const values = weight instanceof Tensor ? weight : weight.values;
    const version = versionOp.raw(values.handle) as number;
    const { copy } = this;
    if (copy && copy.of === values && copy.version === version && copy.dtype === dtype) return copy.made;
    this[Symbol.dispose]();
    const made = this.make(weight, dtype);
    this.copy = { made, of: values, version, dtype };
    return made;
  }

  /** The copy that there is, for who has freed the weight itself. */
  get current(): C | null {
    return this.copy?.made ?? null;
  }

  [Symbol.dispose](): void {
    if (this.copy) this.free(this.copy.made);
    this.copy = null;
  }
}

/** A matrix packed for the decoding step's products. */
export class PackedCopy extends CurrentCopy<PackedMatrix, Weight> {
  protected make(weight: Weight, dtype: DType): PackedMatrix {
    const matrix = packed(weight, dtype);
    matrix.blocks.keep();
    matrix.scales?.keep();
    return matrix;
  }

  protected free({ blocks, scales }: PackedMatrix): void {
    blocks.dispose();
    scales?.dispose();
  }
}

/** A matrix with its rows as columns. */
export class TransposedCopy extends CurrentCopy<Tensor, Tensor> {
  protected make(weight: Tensor): Tensor {
    return scope(() => weight.detach().transpose(0, 1).contiguous().keep());
  }

  protected free(made: Tensor): void {
    made.dispose();
  }
}
