/**
 * Owns matrices in 8 bit: rounding by output channel, and its slow twin. Products with them are in product.ts and
 * packed.ts. Knows no layer and no model.
 */

import { ReckonError } from '../util/errors.ts';
import { noGrad } from './autograd.ts';
import { dtypeCode } from './dtype.ts';
import { kernelsServe } from './kernels.ts';
import { Op } from './op.ts';
import { scope } from './scope.ts';
import { invoke, Tensor, where } from './tensor.ts';

const quantiseOp = new Op('reckon::quantise');
const absOp = new Op('aten::abs');
const roundOp = new Op('aten::round');
const fullLikeOp = new Op('aten::full_like');
const toOp = new Op('aten::to', 'dtype');

/** Scales below the smallest normal number divide too coarsely; such a row is 0 for all purposes. */
const leastScale = 2 ** -126;

/** A matrix as whole numbers from -127 to 127 times a scale a row: symmetric, without an offset. */
export interface Int8Matrix {
  /** i8 [out, in]. */
  readonly values: Tensor;
  /** f32 [out]: the largest magnitude of the row / 127. */
  readonly scales: Tensor;
}

/** Rounds a matrix [out, in] to the nearest of 255 numbers a row, ties to even; throws `weights-not-finite`. No gradient. */
export function quantised(weight: Tensor): Int8Matrix {
  return noGrad(() =>
    scope(() => {
      const own = weight.detach().contiguous();
      const matrix = kernelsServe(own) ? byKernel(own) : byOperators(own);
      if (matrix.scales.isFinite().all().item() !== 0) return matrix;
      throw new ReckonError(
        'data',
        'weights-not-finite',
        `expected finite weights to round to 8 bit, found NaN or infinity in a matrix [${weight.shape.join(', ')}]`,
      );
    }),
  );
}

function byKernel(weight: Tensor): Int8Matrix {
  const [values, scales] = quantiseOp.raw(weight.handle) as [number, number];
  return { values: new Tensor(values), scales: new Tensor(scales) };
}

function byOperators(weight: Tensor): Int8Matrix {
  const wide = weight.to('f32');
  const largest = invoke(absOp, wide.handle).amax(1).div(127);
  const one = invoke(fullLikeOp, largest.handle, 1);
  const scales = where(largest.lt(leastScale), one, largest);
  const rounded = invoke(roundOp, wide.div(scales.unsqueeze(1)).handle);
  return { values: invoke(toOp, rounded.handle, dtypeCode('i8')), scales };
}

/** The numbers that the matrix stands for, f32 [out, in]. */
export function dequantised({ values, scales }: Int8Matrix): Tensor {
  return noGrad(() => scope(() => values.to('f32').mul(scales.unsqueeze(1))));
}
