/**
 * Owns what a model of this process says of tokens that a server sampled: the numbers that the server's are held against.
 * Sends nothing.
 */

import type { Decoder } from '../../models/index.ts';
import { ids, noGrad, scope } from '../../torch/index.ts';
import { mean } from '../../util/statistics.ts';
import { filterLogits } from '../filters.ts';
import type { SamplingParameters } from '../sampling.ts';

/**
 * Log-probabilities of sampled ids by the model's own forward pass, under the distribution that is drawn from; -Infinity for
 * an id that the filters leave out. Greedy ones are of temperature 1.
 */
export function ownLogps(
  model: Decoder,
  promptIds: readonly number[],
  sampledIds: readonly number[],
  parameters: SamplingParameters,
): number[] {
  return noGrad(() =>
    scope(() => {
      const all = [...promptIds, ...sampledIds.slice(0, -1)];
      const hidden_TD = model.forward(ids(all, [1, all.length], model.device)).select(0, 0);
      const count = sampledIds.length;
      const predicting_ND = hidden_TD.narrow(0, promptIds.length - 1, count);
      const logits_NV = model.logits(predicting_ND);
      const logp_NV = filterLogits(logits_NV, parameters).logSoftmax(-1);
      return [...logp_NV.gather(-1, ids([...sampledIds], [count, 1], model.device)).toFloat32()];
    }),
  );
}

/** The mean |a - b| over the tokens that both know (nats). */
export function meanDifference(a: readonly number[], b: readonly number[]): number {
  const differences = a.map((value, i) => Math.abs(value - b[i]!)).filter(Number.isFinite);
  return differences.length === 0 ? Number.POSITIVE_INFINITY : mean(differences);
}
