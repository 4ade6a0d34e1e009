/**
 * Owns what one chunk of tokens after the other computes of a head's logits without a graph, in two buffers that all
 * of them share: terms, and the gradient of the logits by hand. Knows nothing of the loss.
 */

import { like } from '../nn/index.ts';
import { invoke, Op, productInto, type Tensor, zeros } from '../torch/index.ts';

const logSoftmaxIntoOp = new Op('aten::log_softmax', 'int_out');
const expIntoOp = new Op('aten::exp', 'out');
const divInPlaceOp = new Op('aten::div_', 'Scalar');
const mulInPlaceOp = new Op('aten::mul_', 'Tensor');
const bmmOp = new Op('aten::bmm');
const scatterAddInPlaceOp = new Op('aten::scatter_add_');

/** Memory for the logits of a chunk, made once: blocks of this size that come and go would tear the heap to pieces. */
export interface HeadBuffers {
  readonly first_NV: Tensor;
  readonly second_NV: Tensor;
  /** Logits in the dtype of the hidden states; the first buffer itself where that is f32. */
  readonly raw_NV: Tensor;
}

/** Buffers for chunks of up to `rows` hidden states, padding counted. */
export function headBuffers(rows: number, vocabulary: number, hidden_ND: Tensor): HeadBuffers {
  const make = (dtype: 'f32' | typeof hidden_ND.dtype) => zeros([rows, vocabulary], dtype, hidden_ND.device);
  const first_NV = make('f32');
  const raw_NV = hidden_ND.dtype === 'f32' ? first_NV : make(hidden_ND.dtype);
  return { first_NV, second_NV: make('f32'), raw_NV };
}

/** The buffers' rows [N, V] after a chunk: log-probabilities in `logps_NV`, probabilities in `p_NV`. */
export interface ChunkDistribution {
  readonly logps_NV: Tensor;
  readonly p_NV: Tensor;
}

/** Distributions of the first `tokens` of the padded hidden states under the rows weight_VD. */
export function chunkDistribution(
  padded_ND: Tensor,
  weight_VD: Tensor,
  tokens: number,
  temperature: number,
  { first_NV, second_NV, raw_NV }: HeadBuffers,
): ChunkDistribution {
  const raw = raw_NV.narrow(0, 0, padded_ND.size(0));
  productInto(raw, padded_ND, like(weight_VD, padded_ND));
  const logits_NV = first_NV.narrow(0, 0, tokens);
  if (raw_NV !== first_NV) logits_NV.copy_(raw.narrow(0, 0, tokens));
  if (temperature !== 1) invoke(divInPlaceOp, logits_NV.handle, temperature);
  const logps_NV = second_NV.narrow(0, 0, tokens);
  invoke(logSoftmaxIntoOp, logits_NV.handle, -1, null, logps_NV.handle);
  invoke(expIntoOp, logps_NV.handle, logits_NV.handle);
  return { logps_NV, p_NV: logits_NV };
}

/** Entropy of each distribution; overwrites the probabilities. */
export function chunkEntropies({ logps_NV, p_NV }: ChunkDistribution): Tensor {
  return invoke(mulInPlaceOp, p_NV.handle, logps_NV.handle).sum(-1).neg();
}

/** The same as sums of products without a place for the products: the distribution stays. */
export function keptEntropies({ logps_NV, p_NV }: ChunkDistribution): Tensor {
  const sums = invoke(bmmOp, p_NV.unsqueeze(1).handle, logps_NV.unsqueeze(2).handle);
  return sums.view([p_NV.size(0)]).neg();
}

/**
 * Gradient [N, V] of the logits, given those of each token's log-probability and entropy:
 * g_logp (onehot - p) - g_entropy p (log p + H). Overwrites the distribution.
 */
export function logitSlopes(
  { logps_NV, p_NV }: ChunkDistribution,
  targets_N: Tensor,
  entropies_N: Tensor,
  slopes: { readonly logps_N: Tensor | null; readonly entropies_N: Tensor | null },
): Tensor {
  const forLogps_N1 = slopes.logps_N?.unsqueeze(-1);
  if (slopes.entropies_N) {
    logps_NV.add_(entropies_N.unsqueeze(-1));
    invoke(mulInPlaceOp, logps_NV.handle, slopes.entropies_N.neg().unsqueeze(-1).handle);
    if (forLogps_N1) logps_NV.add_(forLogps_N1, -1);
    invoke(mulInPlaceOp, p_NV.handle, logps_NV.handle);
  } else if (forLogps_N1) {
    invoke(mulInPlaceOp, p_NV.handle, forLogps_N1.neg().handle);
  }
  if (forLogps_N1) {
    invoke(scatterAddInPlaceOp, p_NV.handle, -1, targets_N.unsqueeze(-1).handle, forLogps_N1.handle);
  }
  return p_NV;
}
