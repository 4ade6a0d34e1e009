/** Owns importance ratios of new to old policy, of tokens and of whole sequences. Knows no advantage. */

import type { Tensor } from '../torch/index.ts';
import { type Rows, rowMeans, rowSums, spreadRows } from './rows.ts';

/**
 * `token`: exp(logp - old). `sequence`: exp of the mean over the sequence (GSPO). `sequence-token`: the value of
 * `sequence`, the gradient of `token` (GSPO-token). `sequence-product`: exp of the sum over the sequence (RLOO).
 */
export type RatioLevel = 'token' | 'sequence' | 'sequence-token' | 'sequence-product';

/** One ratio a token; all but `token` need to know which sequence a token belongs to. */
export function ratioPerToken(
  logps_N: Tensor,
  oldLogps_N: Tensor,
  level: RatioLevel,
  rows: Rows | undefined,
): Tensor {
  const difference_N = logps_N.sub(oldLogps_N);
  if (level === 'token') return difference_N.exp();
  if (!rows) throw new TypeError(`a ratio of level ${level} needs rows`);
  const reduced_R = level === 'sequence-product' ? rowSums(difference_N, rows) : rowMeans(difference_N, rows);
  const whole_N = spreadRows(reduced_R, rows);
  if (level !== 'sequence-token') return whole_N.exp();
  return whole_N.detach().add(logps_N.sub(logps_N.detach())).exp();
}
