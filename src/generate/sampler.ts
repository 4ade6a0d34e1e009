/** Owns the choice of the next token from logits, and what is recorded of it; knows no model and no batch. */

import { cat, drawKernel, fromBytes, kernelsServe, op, sampleKernel, type Tensor } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { type Excluded, filterLogits } from './filters.ts';
import { isUnfiltered, type SamplingParameters } from './sampling.ts';

const sortOp = op('aten::sort', 'stable');

export interface SampledTokens {
  readonly ids: Int32Array;
  /** At the temperature over the whole vocabulary (at temperature 1 for greedy), nats. */
  readonly logps: Float32Array;
  /** Under the distribution drawn from: after bans, penalties, top-k, top-p and min-p; 0 for greedy. */
  readonly samplingLogps: Float32Array;
  /** Null unless they were asked for. */
  readonly statistics: SampledStatistics | null;
}

/** What else is known of the distribution over the whole vocabulary, one entry a row. */
export interface SampledStatistics {
  /** Log-probability of the sampled token at temperature 1, nats. */
  readonly plainLogps: Float32Array;
  /** At the temperature (at temperature 1 for greedy), nats. */
  readonly entropies: Float32Array;
  /** The likeliest ids [N, alternatives] in descending order, of equals the lower ones, and their `logps`. */
  readonly likeliest: Int32Array;
  readonly likeliestLogps: Float32Array;
}

/** What a draw knows of its rows besides the logits. */
export interface SampledRows extends Excluded {
  /** How many of the likeliest ids are recorded; statistics are left out where it is not given. */
  readonly alternatives?: number | undefined;
}

/**
 * Draws one token a row of logits [N, V] by inverting the cumulative distribution, in the order of ids, at a uniform
 * number of each row's own, so that a row's token depends on nothing outside the row. Throws `no-distribution` where a
 * row has no finite logit. Call inside a scope.
 */
export function sampleTokens(
  logits_NV: Tensor,
  uniforms: Float32Array,
  parameters: SamplingParameters,
  rows: SampledRows = {},
): SampledTokens {
  const { alternatives = null } = rows;
  const fast = kernelsServe(logits_NV);
  const plain = alternatives === null && isPlain(parameters, rows);
  const sampled =
    fast && plain
      ? sampleInOnePass(logits_NV, uniforms, parameters.temperature)
      : fast
        ? drawRows(logits_NV, uniforms, parameters, rows)
        : sampleBySorting(logits_NV, uniforms, parameters, rows);
  if (sampled.logps.some(Number.isNaN)) {
    throw new ReckonError(
      'run',
      'no-distribution',
      'expected a finite logit to draw a token from, found NaN or nothing but -Infinity: the weights have diverged, or everything is banned',
    );
  }
  return sampled;
}

/** Whether filters would change nothing: there are none, or the likeliest is taken, which they all keep. */
function isPlain(parameters: SamplingParameters, { early = null }: Excluded): boolean {
  const { temperature, repetitionPenalty = 1, logitBias } = parameters;
  if (early) return false;
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
    statistics: null,
  };
}

function drawRows(
  logits_NV: Tensor,
  uniforms: Float32Array,
  { temperature, topP, topK = 0, minP = 0, repetitionPenalty = 1, logitBias }: SamplingParameters,
  { seen_NS = null, early = null, alternatives }: SampledRows,
): SampledTokens {
  const count = uniforms.length;
  const whole = (values: Iterable<number>, shape: readonly number[]) =>
    fromBytes(Int32Array.from(values), 'i32', shape);
  const drawn = drawKernel(logits_NV, fromBytes(uniforms, 'f32', [count]), {
    temperature,
    topK,
    topP,
    minP,
    repetitionPenalty,
    seen: repetitionPenalty === 1 ? null : (seen_NS?.to('i32') ?? null),
    bias: logitBias?.size
      ? {
          ids: whole(logitBias.keys(), [logitBias.size]),
          added: fromBytes(Float32Array.from(logitBias.values()), 'f32', [logitBias.size]),
        }
      : null,
    banned: early && {
      ids: whole(early.ids, [early.ids.length]),
      rows: whole(early.rows.map(Number), [count]),
    },
    alternatives: alternatives ?? -1,
  });
  const values = drawn.values.toFloat32();
  const column = (i: number) => values.slice(i * count, (i + 1) * count);
  return {
    ids: drawn.counts.select(0, 0).toInt32(),
    logps: column(0),
    samplingLogps: column(1),
    statistics:
      alternatives === undefined
        ? null
        : {
            plainLogps: column(2),
            entropies: column(3),
            likeliest: drawn.likeliest.toInt32(),
            likeliestLogps: drawn.likeliestLogps.toFloat32(),
          },
  };
}

/** The slow twin of both kernels, by libtorch's operators. */
function sampleBySorting(
  logits_NV: Tensor,
  uniforms: Float32Array,
  parameters: SamplingParameters,
  rows: SampledRows,
): SampledTokens {
  const { temperature } = parameters;
  const logits = logits_NV.to('f32');
  const greedy = temperature === 0;
  const scaled = greedy || temperature === 1 ? logits : logits.div(temperature);
  const logp_NV = scaled.logSoftmax(-1);
  const unfiltered = isUnfiltered(parameters) && !rows.early;
  const filtered = unfiltered ? null : filterLogits(logits, parameters, rows);
  const sampling_NV = filtered?.logSoftmax(-1) ?? logp_NV;
  const chosen = greedy ? (filtered ?? logits).argmax(-1) : invert(sampling_NV, uniforms);
  const index = chosen.unsqueeze(-1);
  const { alternatives } = rows;
  const extra = alternatives === undefined ? [] : statisticsOf(logits, logp_NV, index, alternatives);
  const [ids, logps, cut, plainLogps, entropies, likeliest, likeliestLogps] = readTogether([
    chosen,
    logp_NV.gather(-1, index),
    sampling_NV.gather(-1, index),
    ...extra,
  ]) as [Float32Array, Float32Array, Float32Array, ...(Float32Array | undefined)[]];
  return {
    ids: Int32Array.from(ids),
    logps,
    samplingLogps: greedy ? new Float32Array(logps.length) : cut,
    statistics:
      plainLogps && entropies && likeliest && likeliestLogps
        ? { plainLogps, entropies, likeliest: Int32Array.from(likeliest), likeliestLogps }
        : null,
  };
}

/** What `SampledStatistics` has, in its order. */
function statisticsOf(logits: Tensor, logp_NV: Tensor, index: Tensor, alternatives: number): Tensor[] {
  const [sorted, order] = sortOp(logits, { stable: true, dim: -1, descending: true }) as [Tensor, Tensor];
  sorted.dispose();
  const likeliest = order.narrow(-1, 0, alternatives);
  return [
    logits.logSoftmax(-1).gather(-1, index),
    // A token of probability 0 adds 0, not 0 times infinity.
    logp_NV.exp().mul(logp_NV.clamp(-1000)).sum(-1).neg(),
    likeliest,
    logp_NV.gather(-1, likeliest),
  ];
}

/** The values of all in one read, because each read waits for the device; ids below 2^24 are exact in f32. */
function readTogether(tensors: readonly Tensor[]): Float32Array[] {
  const flat = cat(tensors.map((one) => one.reshape([-1]).to('f32'))).toFloat32();
  let at = 0;
  return tensors.map(({ numel }) => {
    at += numel;
    return flat.slice(at - numel, at);
  });
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
