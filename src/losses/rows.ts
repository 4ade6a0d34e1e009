/** Owns sums over the tokens of each sequence of a flat batch, and spreading them back. Knows no loss. */

import { full, type Tensor, zeros } from '../torch/index.ts';

/** Which sequence each token of a flat batch belongs to. */
export interface Rows {
  /** i64, one a token: the index of its sequence. */
  readonly rows_N: Tensor;
  readonly count: number;
}

/** One sum a sequence [R] of one number a token; 0 for a sequence without tokens. */
export function rowSums(values_N: Tensor, { rows_N, count }: Rows): Tensor {
  return zeros([count], values_N.dtype, values_N.device).indexAdd(0, rows_N, values_N);
}

/** One mean a sequence [R]; 0 for a sequence without tokens. */
export function rowMeans(values_N: Tensor, rows: Rows): Tensor {
  const ones_N = full(values_N.shape, 1, values_N.dtype, values_N.device);
  return rowSums(values_N, rows).div(rowSums(ones_N, rows).clamp(1));
}

/** One number a sequence as one number a token of it. */
export function spreadRows(values_R: Tensor, { rows_N }: Rows): Tensor {
  return values_R.indexSelect(0, rows_N);
}
