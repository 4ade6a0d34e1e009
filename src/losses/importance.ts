/**
 * Owns truncated importance sampling: what a token counts when it was not sampled from the policy that the trainer
 * computes with (Yao et al. 2025). Knows no loss.
 */

import { noGrad, type Tensor } from '../torch/index.ts';
import { type Rows, rowSums, spreadRows } from './rows.ts';

/** Whether the weight is of a token or the product over its sequence, and what happens beyond the bounds. */
export interface ImportanceOptions {
  readonly level: 'token' | 'sequence';
  /** `truncate` moves a weight to the bound, `mask` makes it 0. */
  readonly beyond: 'truncate' | 'mask';
  readonly max: number;
  readonly min?: number | null;
}

/** exp(old - sampling) a token, bounded; no gradient. */
export function importanceWeights(
  oldLogps_N: Tensor,
  samplingLogps_N: Tensor,
  options: ImportanceOptions,
  rows?: Rows,
): Tensor {
  return noGrad(() => {
    let log_N = oldLogps_N.detach().sub(samplingLogps_N);
    if (options.level === 'sequence') {
      if (!rows) throw new TypeError('importance weights of sequences need rows');
      log_N = spreadRows(rowSums(log_N, rows), rows);
    }
    const weight_N = log_N.exp();
    const min = options.min ?? null;
    if (options.beyond === 'truncate') return weight_N.clamp(min, options.max);
    const above_N = weight_N.gt(options.max);
    const masked_N = weight_N.maskedFill(above_N, 0);
    return min === null ? masked_N : masked_N.maskedFill(weight_N.lt(min), 0);
  });
}
