/**
 * Owns log-probabilities of chosen tokens from hidden states, chunked over tokens so that the logits of a whole batch
 * never exist at once, and the backward pass through them. Knows nothing of what the loss means.
 */

import { like } from '../nn/index.ts';
import { backward, cat, invoke, noGrad, Op, scope, type Tensor } from '../torch/index.ts';

const padOp = new Op('aten::constant_pad_nd');
const rowStep = 256;
/** Most logits (tokens x vocabulary) that exist at once: 64 MiB in f32. */
const chunkElements = 2 ** 24;

export interface TokenLogpOptions {
  /** Logits are divided by it: the sampling temperature, so that ratios compare what was sampled. */
  readonly temperature: number;
  /** How many rows of the head are the policy's vocabulary; all by default. */
  readonly vocabulary?: number;
  /** Tokens a chunk; derived from the vocabulary by default. */
  readonly chunkTokens?: number;
}

/** One number a token each, in f32. */
export interface TokenLogps {
  readonly logps_N: Tensor;
  readonly entropies_N: Tensor;
}

/** Log-probability of each target and entropy of its distribution from hidden_ND and the head weight_VD, no gradient. */
export function tokenLogps(
  hidden_ND: Tensor,
  weight_VD: Tensor,
  targets_N: Tensor,
  options: TokenLogpOptions,
): TokenLogps {
  return noGrad(() =>
    scope(() => {
      const parts = tokenChunks(hidden_ND.size(0), weight_VD, options).map(([start, length]) =>
        scope(() =>
          logpsOf(hidden_ND.narrow(0, start, length), weight_VD, targets_N.narrow(0, start, length), options),
        ),
      );
      return {
        logps_N: cat(parts.map((part) => part.logps_N)),
        entropies_N: cat(parts.map((part) => part.entropies_N)),
      };
    }),
  );
}

/**
 * Runs backward for a loss that is a function of token log-probabilities (and entropies), and of the hidden states
 * themselves where a value head reads them: accumulates the gradient of every parameter behind hidden_ND and of the head,
 * and returns the loss, detached. One chunk keeps its graph; more
 * are computed once without a graph for the loss, and once again with one for the gradient, chunk by chunk.
 */
export function backwardThroughLogps(
  hidden_ND: Tensor,
  weight_VD: Tensor,
  targets_N: Tensor,
  options: TokenLogpOptions,
  loss: (values: TokenLogps, hidden_ND: Tensor) => Tensor,
): Tensor {
  return scope(() => {
    const leaf = hidden_ND.detach().requiresGrad_();
    const ranges = tokenChunks(leaf.size(0), weight_VD, options);
    let value: Tensor;
    if (ranges.length <= 1) {
      value = loss(logpsOf(leaf, weight_VD, targets_N, options), leaf);
      backward(value);
    } else {
      const values = tokenLogps(leaf, weight_VD, targets_N, options);
      values.logps_N.requiresGrad_();
      values.entropies_N.requiresGrad_();
      value = loss(values, leaf);
      backward(value);
      for (const range of ranges)
        scope(() => backwardChunk(leaf, weight_VD, targets_N, options, values, range));
    }
    const gradient = leaf.grad;
    if (gradient) backward(hidden_ND, gradient);
    return value.detach();
  });
}

function backwardChunk(
  leaf: Tensor,
  weight_VD: Tensor,
  targets_N: Tensor,
  options: TokenLogpOptions,
  whole: TokenLogps,
  [start, length]: Range,
): void {
  const part = logpsOf(leaf.narrow(0, start, length), weight_VD, targets_N.narrow(0, start, length), options);
  const terms = [
    [part.logps_N, whole.logps_N.grad],
    [part.entropies_N, whole.entropies_N.grad],
  ] as const;
  for (const [values, gradient] of terms) {
    if (gradient) backward(values, gradient.narrow(0, start, length), true);
  }
}

function logpsOf(
  hidden_ND: Tensor,
  weight_VD: Tensor,
  targets_N: Tensor,
  options: TokenLogpOptions,
): TokenLogps {
  return termsOfLogits(headLogits(hidden_ND, weight_VD, options), targets_N);
}

/** Log-probability of each target and entropy of its distribution from logits [N, V], in their dtype, with a graph. */
export function termsOfLogits(logits_NV: Tensor, targets_N: Tensor): TokenLogps {
  const all_NV = logits_NV.logSoftmax(-1);
  return {
    logps_N: all_NV.gather(-1, targets_N.unsqueeze(-1)).squeeze(-1),
    entropies_N: all_NV.exp().mul(all_NV).sum(-1).neg(),
  };
}

/** Logits [N, vocabulary] in f32 of hidden_ND under the head weight_VD, divided by the temperature. */
export function headLogits(hidden_ND: Tensor, weight_VD: Tensor, options: TokenLogpOptions): Tensor {
  const rows = options.vocabulary ?? weight_VD.size(0);
  const tokens = hidden_ND.size(0);
  const padded = padRows(hidden_ND, Math.ceil(tokens / rowStep) * rowStep);
  const raw = padded
    .linear(like(weight_VD.narrow(0, 0, rows), hidden_ND))
    .narrow(0, 0, tokens)
    .to('f32');
  return options.temperature === 1 ? raw : raw.div(options.temperature);
}

/** Rows of zeros below, so that the library meets few shapes of the head's product and compiles few. */
function padRows(hidden_ND: Tensor, rows: number): Tensor {
  const missing = rows - hidden_ND.size(0);
  return missing === 0 ? hidden_ND : invoke(padOp, hidden_ND.handle, [0, 0, 0, missing]);
}

/** A chunk of tokens. */
export type Range = readonly [start: number, length: number];

/** The tokens cut into chunks whose logits may exist at once. */
export function tokenChunks(tokens: number, weight_VD: Tensor, options: TokenLogpOptions): Range[] {
  const vocabulary = options.vocabulary ?? weight_VD.size(0);
  const size = options.chunkTokens ?? Math.max(1, Math.floor(chunkElements / vocabulary));
  const count = Math.ceil(tokens / size);
  return Array.from({ length: count }, (_, i) => [i * size, Math.min(size, tokens - i * size)]);
}
