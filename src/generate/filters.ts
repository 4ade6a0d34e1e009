/**
 * Owns what is done to logits before a token is drawn, by libtorch's operators: bans, bias, repetition penalty,
 * temperature, top-k, top-p, min-p, in this order, each on what the one before left. Draws nothing.
 */

import { fromBytes, ids, invoke, Op, op, type Tensor, tensor, where, zeros } from '../torch/index.ts';
import type { SamplingParameters } from './sampling.ts';

const indexFillOp = new Op('aten::index_fill', 'int_Scalar');
const scatterOp = new Op('aten::scatter', 'src');
const topkOp = op('aten::topk');
const sortOp = op('aten::sort', 'stable');

/** Ids that cannot be drawn in the rows that are marked, one mark a row. */
export interface EarlyEndings {
  readonly rows: readonly boolean[];
  readonly ids: readonly number[];
}

/** What is held against ids in some rows. */
export interface Excluded {
  /** [N, S]: ids that the repetition penalty touches, some perhaps twice. */
  readonly seen_NS?: Tensor | null;
  /** What may not end a completion yet. */
  readonly early?: EarlyEndings | null;
}

/**
 * Logits [N, V] as they are drawn from, -inf where a token is left out; not normalised. What top-k, top-p and min-p keep
 * of a row is always so many of its likeliest: of equal ones top-k keeps all, and top-p those with the lower ids.
 * Temperature 0 leaves the scale alone.
 */
export function filterLogits(
  logits_NV: Tensor,
  parameters: SamplingParameters,
  { seen_NS = null, early = null }: Excluded = {},
): Tensor {
  const { temperature, topP, topK = 0, minP = 0, repetitionPenalty = 1, logitBias } = parameters;
  let scores = early ? withoutEarly(logits_NV, early) : logits_NV;
  if (logitBias?.size) scores = biased(scores, logitBias);
  if (repetitionPenalty !== 1 && seen_NS) scores = penalised(scores, seen_NS, repetitionPenalty);
  if (temperature !== 0 && temperature !== 1) scores = scores.div(temperature);
  if (topK > 0) scores = keepTopK(scores, topK);
  if (topP < 1) scores = keepNucleus(scores, topP);
  if (minP > 0) scores = keepLikely(scores, minP);
  return scores;
}

function withoutEarly(scores: Tensor, { rows, ids: some }: EarlyEndings): Tensor {
  const { device } = scores;
  const banned = zeros(scores.shape, 'bool', device);
  const marks = tensor(rows.map(Number), { dtype: 'bool', shape: [rows.length, 1], device });
  const columns = ids([...some], undefined, device);
  return scores.maskedFill(
    invoke(indexFillOp, banned.handle, 1, columns.handle, 1).logicalAnd(marks),
    Number.NEGATIVE_INFINITY,
  );
}

function biased(scores: Tensor, bias: ReadonlyMap<number, number>): Tensor {
  const { device } = scores;
  const values = Float32Array.from(bias.values());
  const added = fromBytes(values, 'f32', [1, values.length]).to(scores.dtype, device);
  const index = ids([...bias.keys()], undefined, device);
  const chosen = scores.indexSelect(-1, index).add(added);
  const spread = index.unsqueeze(0).expand(chosen.shape);
  return invoke(scatterOp, scores.handle, -1, spread.handle, chosen.handle);
}

function penalised(scores: Tensor, seen_NS: Tensor, penalty: number): Tensor {
  const chosen = scores.gather(-1, seen_NS);
  const changed = where(chosen.lt(0), chosen.mul(penalty), chosen.div(penalty));
  return invoke(scatterOp, scores.handle, -1, seen_NS.handle, changed.handle);
}

function keepTopK(scores: Tensor, count: number): Tensor {
  const kept = Math.min(count, scores.size(-1));
  const [values] = topkOp(scores, kept, { dim: -1 }) as [Tensor, Tensor];
  return scores.maskedFill(scores.lt(values.narrow(-1, kept - 1, 1)), Number.NEGATIVE_INFINITY);
}

/** The likeliest token is always inside. */
function keepNucleus(scores: Tensor, topP: number): Tensor {
  const [sorted, order] = sortOp(scores, { stable: true, dim: -1, descending: true }) as [Tensor, Tensor];
  const probabilities = sorted.softmax(-1);
  const before = probabilities.cumsum(-1).sub(probabilities);
  const inside = before.lt(topP).logicalNot().logicalAnd(before.gt(0)).logicalNot();
  const blank = zeros(scores.shape, 'bool', scores.device);
  const outside = invoke(scatterOp, blank.handle, -1, order.handle, inside.handle).logicalNot();
  return scores.maskedFill(outside, Number.NEGATIVE_INFINITY);
}

function keepLikely(scores: Tensor, minP: number): Tensor {
  const probabilities = scores.softmax(-1);
  const least = probabilities.amax(-1, true).mul(minP);
  return scores.maskedFill(probabilities.lt(least), Number.NEGATIVE_INFINITY);
}
