/** Owns a packed copy of a weight for decoding, made when it is first asked for and anew once the weight has changed. */

import { type DType, type Int8Matrix, Op, type PackedMatrix, packed, Tensor } from '../torch/index.ts';

const versionOp = new Op('aten::_version');

interface Copy {
  readonly matrix: PackedMatrix;
  readonly of: Tensor;
  readonly version: number;
  readonly dtype: DType;
}

/** At most one packed copy, of the weight it was last asked for. */
export class PackedCopy implements Disposable {
  private copy: Copy | null = null;

  /**
   * The weight as it is now, packed for inputs of `dtype`. That it has changed is seen by autograd's own count of writes,
   * which an optimizer's step raises; so the copy is never older than the weight.
   */
  of(weight: Tensor | Int8Matrix, dtype: DType): PackedMatrix {
    const values = weight instanceof Tensor ? weight : weight.values;
    const version = versionOp.raw(values.handle) as number;
    const { copy } = this;
    if (copy && copy.of === values && copy.version === version && copy.dtype === dtype) return copy.matrix;
    this[Symbol.dispose]();
    const matrix = packed(weight, dtype);
    matrix.blocks.keep();
    matrix.scales?.keep();
    this.copy = { matrix, of: values, version, dtype };
    return matrix;
  }

  /** The copy that there is, for who has freed the weight itself. */
  get current(): PackedMatrix | null {
    return this.copy?.matrix ?? null;
  }

  [Symbol.dispose](): void {
    this.copy?.matrix.blocks.dispose();
    this.copy?.matrix.scales?.dispose();
    this.copy = null;
  }
}
