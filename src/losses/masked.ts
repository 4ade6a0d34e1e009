/**
 * Owns sums over what a mask keeps, as Stanford's CS336 defines them in assignment 5. Trainers do not use them: their sums
 * run over the tokens of a whole optimizer batch, and an empty one is no NaN (see `lossWeights`).
 */

import type { Tensor } from '../torch/index.ts';

/** Sum of what the mask keeps over its count, along a dimension or over all; NaN where the mask keeps nothing. */
export function maskedMean(values: Tensor, mask: Tensor, dim: number | null = null): Tensor {
  const kept = mask.to(values.dtype);
  return total(values.mul(kept), dim).div(total(kept, dim));
}

/** Sum of what the mask keeps over a constant, along a dimension or over all; 0 where the mask keeps nothing. */
export function maskedNormalize(
  values: Tensor,
  mask: Tensor,
  constant: number,
  dim: number | null = null,
): Tensor {
  return total(values.mul(mask.to(values.dtype)), dim).div(constant);
}

function total(values: Tensor, dim: number | null): Tensor {
  return dim === null ? values.sum() : values.sum(dim);
}
