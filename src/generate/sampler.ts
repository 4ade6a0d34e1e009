/** Owns the choice of the next token from logits, and its two log-probabilities; knows no model and no batch. */

import { fromBytes, kernelsServe, sampleKernel, type Tensor } from '../torch/index.ts';
import { filterLogits, isUnfiltered, type SamplingParameters } from './filters.ts';

export interface SampledTokens {
  readonly ids: Int32Array;
  /** At the temperature over the whole vocabulary (at temperature 1 for greedy), nats. */
  readonly logps: Float32Array;
  /** Under the distribution drawn from: after penalties, top-k, top-p and min-p; 0 for greedy. */
  readonly samplingLogps: Float32Array;
}

/**
 * Draws one token a row of logits [N, V] by inverting the cumulative distribution at a uniform number of each
 * row's own, so that a row's token depends on nothing outside the row. `seen_NS` is for the repetition penalty. Call
 * inside a scope.
 */
export function sampleTokens(
  logits_NV: Tensor,
  uniforms: Float32Array,
  parameters: SamplingParameters,
  seen_NS: Tensor | null = null,
): SampledTokens {
  const { temperature } = parameters;
  if (kernelsServe(logits_NV) && isPlain(parameters))
    return sampleInOnePass(logits_NV, uniforms, temperature);
  const logits = logits_NV.to('f32');
  const greedy = temperature === 0;
  const scaled = greedy || temperature === 1 ? logits : logits.div(temperature);
  const logp_NV = scaled.logSoftmax(-1);
  const unfiltered = isUnfiltered(parameters);
  const filtered = unfiltered ? null : filterLogits(logits, parameters, seen_NS);
  const sampling_NV = filtered?.logSoftmax(-1) ?? logp_NV;
  const chosen = greedy ? (filtered ?? logits).argmax(-1) : invert(sampling_NV, uniforms);
  const index = chosen.unsqueeze(-1);
  const logps = logp_NV.gather(-1, index).toFloat32();
  const samplingLogps = greedy
    ? new Float32Array(logps.length)
    : unfiltered
      ? logps
      : sampling_NV.gather(-1, index).toFloat32();
  return { ids: chosen.toInt32(), logps, samplingLogps };
}

/** Whether filters would change nothing: there are none, or the likeliest is taken, which they all keep. */
function isPlain(parameters: SamplingParameters): boolean {
  const { temperature, repetitionPenalty = 1, logitBias } = parameters;
  return isUnfiltered(parameters) || (temperature === 0 && repetitionPenalty === 1 && !logitBias?.size);
}

function sampleInOnePass(logits_NV: Tensor, uniforms: Float32Array, temperature: number): SampledTokens {
  const u_N = fromBytes(uniforms, 'f32', [uniforms.length]);
  const drawn = sampleKernel(logits_NV, u_N, temperature);
  const logps = drawn.logps.toFloat32();
  return {
    ids: drawn.ids.toInt32(),
    logps,
    samplingLogps: temperature === 0 ? new Float32Array(logps.length) : logps,
  };
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
