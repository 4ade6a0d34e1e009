/** Owns the choice of the next token from logits, and its two log-probabilities; knows no model and no batch. */

import { fromBytes, invoke, Op, op, type Tensor, where, zeros } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';

const scatterOp = new Op('aten::scatter', 'src');

/** How a token is drawn. Temperature 0 is greedy. */
export interface SamplingParameters {
  readonly temperature: number;
  /** Nucleus: the smallest set of tokens whose probabilities sum to at least this much; 1 keeps all. */
  readonly topP: number;
}

export interface SampledTokens {
  readonly ids: Int32Array;
  /** At the temperature over the whole vocabulary (at temperature 1 for greedy), nats. */
  readonly logps: Float32Array;
  /** Under the distribution drawn from: after top-p; 0 for greedy. */
  readonly samplingLogps: Float32Array;
}

/** Fails on parameters that make no distribution. */
export function checkSampling({ temperature, topP }: SamplingParameters): void {
  if (!(temperature >= 0 && Number.isFinite(temperature))) {
    throw new ReckonError('usage', 'bad-sampling', `temperature must be 0 or more, found ${temperature}`);
  }
  if (!(topP > 0 && topP <= 1)) {
    throw new ReckonError('usage', 'bad-sampling', `topP must be above 0 and at most 1, found ${topP}`);
  }
}

/**
 * Draws one token a row of f32 logits [N, V] by inverting the cumulative distribution at a uniform number of each
 * row's own, so that a row's token depends on nothing outside the row. Call inside a scope.
 */
export function sampleTokens(
  logits: Tensor,
  uniforms: Float32Array,
  parameters: SamplingParameters,
): SampledTokens {
  const { temperature, topP } = parameters;
  const greedy = temperature === 0;
  const scaled = greedy || temperature === 1 ? logits : logits.div(temperature);
  const logp_NV = scaled.logSoftmax(-1);
  const sampling_NV = greedy || topP === 1 ? logp_NV : truncate(logp_NV, topP);
  const chosen = greedy ? logits.argmax(-1) : invert(sampling_NV, uniforms);
  const index = chosen.unsqueeze(-1);
  const logps = logp_NV.gather(-1, index).toFloat32();
  const samplingLogps = greedy
    ? new Float32Array(logps.length)
    : sampling_NV === logp_NV
      ? logps
      : sampling_NV.gather(-1, index).toFloat32();
  return { ids: chosen.toInt32(), logps, samplingLogps };
}

/**
 * The uniform number of a 32-bit word, in (0, 1] with 24 bits: exact in f32 and never 0, so that the first token whose
 * cumulative probability reaches it always has a probability above 0.
 */
export function uniformOf(word: number): number {
  return ((word >>> 8) + 1) / 2 ** 24;
}

function invert(logp_NV: Tensor, uniforms: Float32Array): Tensor {
  const cumulative = logp_NV.exp().cumsum(-1);
  const u = fromBytes(uniforms, 'f32', [uniforms.length, 1]).to('f32', logp_NV.device);
  const threshold = cumulative.narrow(-1, cumulative.size(-1) - 1, 1).mul(u);
  return cumulative.lt(threshold).sum(-1);
}

/** Log-probabilities renormalised over each row's nucleus, -inf outside; the likeliest token is always inside. */
function truncate(logp_NV: Tensor, topP: number): Tensor {
  const [sorted, order] = sortDescending(logp_NV);
  const probabilities = sorted.exp();
  const before = probabilities.cumsum(-1).sub(probabilities);
  const outside = invoke(
    scatterOp,
    zeros(logp_NV.shape, 'bool', logp_NV.device).handle,
    -1,
    order.handle,
    before.lt(topP).handle,
  ).logicalNot();
  const kept = logp_NV.maskedFill(outside, Number.NEGATIVE_INFINITY);
  return where(outside, kept, kept.sub(kept.logsumexp(-1, true)));
}

function sortDescending(values: Tensor): [Tensor, Tensor] {
  return op('aten::sort', 'stable')(values, { stable: true, dim: -1, descending: true }) as [Tensor, Tensor];
}
