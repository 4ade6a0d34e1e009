/**
 * Owns the product of whole sequences with a matrix as it lies, in 8 bit or not, and its slow twin; of few rows with a packed
 * one it is in packed.ts. Knows no layer and no model.
 */

import type { Int8Matrix } from './int8.ts';
import { kernelLevel, kernelsServe } from './kernels.ts';
import { Op } from './op.ts';
import { invoke, Tensor } from './tensor.ts';

const productOp = new Op('reckon::product');
const productIntoOp = new Op('reckon::product', 'out');
const linearIntoOp = new Op('aten::linear', 'out');

/**
 * x [..., in] times the matrix [out, in], + bias, on any device. With AVX-512, in bf16 where the processor multiplies
 * that itself, a row has the bits that `packedLinear` gives it, whatever the other rows; else libtorch's product serves. With a matrix in
 * 8 bit the gradient goes to x alone, and the matrix is kept in 8 bit for it.
 */
export function product(x: Tensor, weight: Tensor | Int8Matrix, bias: Tensor | null = null): Tensor {
  if (weight instanceof Tensor) {
    if (!kernelsServe(x)) return x.linear(weight, bias);
    return invoke(productOp, x.handle, weight.handle, null, bias?.handle ?? null);
  }
  if (kernelLevel() === 'none') return int8ProductTwin(x, weight, bias);
  return invoke(productOp, x.handle, weight.values.handle, weight.scales.handle, bias?.handle ?? null);
}

/** `product` of rows x [N, in] written into y [N, out]. No gradient. */
export function productInto(y: Tensor, x: Tensor, weight: Tensor): void {
  if (kernelsServe(x)) invoke(productIntoOp, x.handle, weight.handle, y.handle);
  else invoke(linearIntoOp, x.handle, weight.handle, null, y.handle);
}

/** By plain operators, whose gradient keeps a widened matrix. */
function int8ProductTwin(x: Tensor, { values, scales }: Int8Matrix, bias: Tensor | null): Tensor {
  const scaled = x.linear(values.to(x.dtype)).to('f32').mul(scales);
  return (bias ? scaled.add(bias) : scaled).to(x.dtype);
}
