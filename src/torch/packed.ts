/**
 * Owns matrices packed for the kernels: laying one out, the product with it, and the slow twin. The layout is the
 * kernels' (native/kernels/body-packed.h); nobody else looks into it. Knows no layer and no model.
 */

import { noGrad } from './autograd.ts';
import type { DType } from './dtype.ts';
import type { Int8Matrix } from './int8.ts';
import { kernelsServe } from './kernels.ts';
import { Op } from './op.ts';
import { scope } from './scope.ts';
import { invoke, type Tensor } from './tensor.ts';

const packOp = new Op('reckon::pack');
const linearOp = new Op('reckon::linear');
const permuteOp = new Op('aten::permute');

/** A copy of a matrix [out, in] for products with inputs of one dtype, bf16 or f32. */
export interface PackedMatrix {
  /** [blocks, groups of inputs, 64 outputs, inputs of a group]; in the inputs' dtype, or i8. */
  readonly blocks: Tensor;
  /** f32 [out] where the matrix is in 8 bit. */
  readonly scales: Tensor | null;
  readonly out: number;
  readonly in: number;
}

/** What a layer computes of rows: the product with a packed matrix, and a bias [out]. */
export interface PackedProduct {
  readonly matrix: PackedMatrix;
  readonly bias: Tensor | null;
}

/** Packs a matrix on the CPU for inputs of `dtype`; one in 8 bit stays so. The caller owns both tensors. No gradient. */
export function packed(weight: Tensor | Int8Matrix, dtype: DType): PackedMatrix {
  const matrix = 'scales' in weight ? weight.values : weight;
  const [out, inputs] = matrix.shape as [number, number];
  return noGrad(() =>
    scope(() => {
      const values = matrix === weight && matrix.dtype !== dtype ? matrix.detach().to(dtype) : matrix;
      const blocks = invoke(packOp, values.handle, dtype === 'bf16' ? 2 : 1);
      return { blocks, scales: 'scales' in weight ? weight.scales.detach() : null, out, in: inputs };
    }),
  );
}

/**
 * x [..., in] times the matrix, + bias [out], then, of rows x [N, in], + residual [N, out]; of a packed head only the first
 * `out` outputs.
 * Inputs are of the dtype that it was packed for. A row's result does not depend on the other rows. No gradient.
 */
export function packedLinear(
  x: Tensor,
  matrix: PackedMatrix,
  bias: Tensor | null = null,
  residual: Tensor | null = null,
  out: number = matrix.out,
): Tensor {
  const { blocks, scales } = matrix;
  if (!kernelsServe(x)) {
    const y = packedLinearTwin(x, matrix, bias, out);
    return residual ? residual.add(y) : y;
  }
  const rows = x.shape.length === 2 ? x : x.reshape([-1, matrix.in]).contiguous();
  const rest = [scales, bias, residual].map((one) => one?.handle ?? null);
  const y = invoke(linearOp, rows.handle, blocks.handle, out, ...rest);
  return rows === x ? y : y.view([...x.shape.slice(0, -1), out]);
}

/** By libtorch's operators on the matrix as it was. */
function packedLinearTwin(
  x: Tensor,
  { blocks, scales, in: inputs }: PackedMatrix,
  bias: Tensor | null,
  out: number,
): Tensor {
  const [count, groups, width, pair] = blocks.shape as [number, number, number, number];
  const rows = invoke(permuteOp, blocks.handle, [0, 2, 1, 3]).reshape([count * width, groups * pair]);
  const weight = rows.narrow(0, 0, out).narrow(1, 0, inputs);
  if (!scales) return x.linear(weight, bias);
  const y = x
    .linear(weight.to(x.dtype))
    .to('f32')
    .mul(scales.narrow(0, 0, out));
  return (bias ? y.add(bias) : y).to(x.dtype);
}
