/**
 * Owns log-probabilities of chosen tokens from hidden states, chunked over tokens so that the logits of a whole batch
 * never exist at once, and the backward pass through them. Knows nothing of what the loss means.
 */

import { like } from '../nn/index.ts';
import {
  backward,
  cat,
  invoke,
  kernelsServe,
  noGrad,
  Op,
  product,
  scope,
  type Tensor,
  tokenTerms,
  zeros,
} from '../torch/index.ts';
import { type HeadBuffers, type HeadChunk, headBuffers, headChunk, type TermSlopes } from './head-chunks.ts';
import { addHeadGradient, type HeadGradient, openHeadGradient } from './head-gradient.ts';

const padOp = new Op('aten::constant_pad_nd');
const rowStep = 256;
/** Most logits (tokens x vocabulary) of one chunk: 64 MiB in f32, of which two exist at once. */
const chunkElements = 2 ** 24;

export interface TokenLogpOptions {
  /** Logits are divided by it: the sampling temperature, so that ratios compare what was sampled. */
  readonly temperature: number;
  /** How many rows of the head are the policy's vocabulary; all by default. */
  readonly vocabulary?: number | undefined;
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
      const ranges = tokenChunks(hidden_ND.size(0), weight_VD, options);
      return termsOver(ranges, overChunks(hidden_ND, weight_VD, options, ranges), targets_N);
    }),
  );
}

function termsOver(ranges: readonly Range[], chunk: ChunkOf, targets_N: Tensor): TokenLogps {
  const parts = ranges.map((range) =>
    scope(() => {
      const { logps_N, entropies_N } = chunk(range).terms(targets_N.narrow(0, ...range), false);
      return { logps_N, entropies_N };
    }),
  );
  return {
    logps_N: cat(parts.map((part) => part.logps_N)),
    entropies_N: cat(parts.map((part) => part.entropies_N)),
  };
}

/**
 * Runs backward for a loss that is a function of token log-probabilities (and entropies), and of the hidden states
 * themselves where a value head reads them: accumulates the gradient of every parameter behind hidden_ND and of the head,
 * and returns the loss, detached. One chunk keeps its graph; more are computed without one, once for the loss and once
 * again for the gradient, which is written down by hand so that two chunks' worth of logits is all that ever exists.
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
      value = loss(headTerms(leaf, weight_VD, targets_N, options), leaf);
      backward(value);
    } else {
      const chunk = noGrad(() => overChunks(leaf.detach(), weight_VD, options, ranges));
      const values = noGrad(() => termsOver(ranges, chunk, targets_N));
      values.logps_N.requiresGrad_();
      values.entropies_N.requiresGrad_();
      value = loss(values, leaf);
      backward(value);
      backwardChunks(leaf, weight_VD, targets_N, values, ranges, chunk);
    }
    const gradient = leaf.grad;
    if (gradient) backward(hidden_ND, gradient);
    return value.detach();
  });
}

/**
 * The same for a loss that is a sum over tokens, which is asked for chunk by chunk: the logits of each are computed
 * once instead of twice. Returns the sum.
 */
export function backwardThroughTokenLosses(
  hidden_ND: Tensor,
  weight_VD: Tensor,
  targets_N: Tensor,
  options: TokenLogpOptions,
  loss: (values: TokenLogps, range: Range) => Tensor,
): number {
  const ranges = tokenChunks(hidden_ND.size(0), weight_VD, options);
  if (ranges.length <= 1) {
    const whole: Range = [0, hidden_ND.size(0)];
    const only = (values: TokenLogps) => loss(values, whole);
    return scope(() => backwardThroughLogps(hidden_ND, weight_VD, targets_N, options, only).item());
  }
  return scope(() => {
    const leaf_ND = hidden_ND.detach();
    const gradient_ND = zeros(leaf_ND.shape, leaf_ND.dtype, leaf_ND.device);
    const into = { leaf_ND, gradient_ND, weight_VD, head: openHeadGradient(weight_VD) };
    const chunk = noGrad(() => overChunks(leaf_ND, weight_VD, options, ranges));
    let total = 0;
    for (const range of ranges) {
      scope(() => {
        const distributions = noGrad(() => chunk(range));
        const { logps_N, entropies_N } = noGrad(() =>
          distributions.terms(targets_N.narrow(0, ...range), true),
        );
        logps_N.requiresGrad_();
        entropies_N.requiresGrad_();
        const value = loss({ logps_N, entropies_N }, range);
        backward(value);
        total += value.item();
        const slopes = { logps_N: logps_N.grad, entropies_N: entropies_N.grad };
        const terms = { targets_N, entropies_N: entropies_N.detach(), slopes };
        noGrad(() => addChunkGradient(into, distributions, range, terms));
      });
    }
    into.head?.close();
    backward(hidden_ND, gradient_ND);
    return total;
  });
}

/** Adds to the gradients of the leaf and of the head what those of the terms say. */
function backwardChunks(
  leaf: Tensor,
  weight_VD: Tensor,
  targets_N: Tensor,
  { logps_N, entropies_N }: TokenLogps,
  ranges: readonly Range[],
  chunk: ChunkOf,
): void {
  const whole = { logps_N: logps_N.grad, entropies_N: entropies_N.grad };
  if (!whole.logps_N && !whole.entropies_N) return;
  const head = openHeadGradient(weight_VD);
  noGrad(() => {
    const gradient_ND = leaf.grad ?? zeros(leaf.shape, leaf.dtype, leaf.device);
    const into = { leaf_ND: leaf.detach(), gradient_ND, weight_VD, head };
    for (const range of ranges) {
      scope(() => {
        const part = (values: Tensor | null) => values?.narrow(0, ...range) ?? null;
        const slopes = { logps_N: part(whole.logps_N), entropies_N: part(whole.entropies_N) };
        const terms = { targets_N, entropies_N: entropies_N.detach().narrow(0, ...range), slopes };
        addChunkGradient(into, chunk(range), range, terms);
      });
    }
    leaf.grad = gradient_ND;
  });
  head?.close();
}

/** Where the gradients of chunks are added to. */
interface ChunkSinks {
  readonly leaf_ND: Tensor;
  readonly gradient_ND: Tensor;
  readonly weight_VD: Tensor;
  readonly head: HeadGradient | null;
}

/** All targets; entropies and the gradients of a chunk's terms for its own tokens. */
interface ChunkTerms {
  readonly targets_N: Tensor;
  readonly entropies_N: Tensor;
  readonly slopes: TermSlopes;
}

function addChunkGradient(
  { leaf_ND, gradient_ND, weight_VD, head }: ChunkSinks,
  distributions: HeadChunk,
  range: Range,
  { targets_N, entropies_N, slopes }: ChunkTerms,
): void {
  const slopes_NV = distributions.slopes(targets_N.narrow(0, ...range), entropies_N, slopes);
  const chunk_ND = leaf_ND.narrow(0, ...range);
  const cast_NV = like(slopes_NV, chunk_ND);
  const rows_VD = like(weight_VD.narrow(0, 0, cast_NV.size(1)), chunk_ND);
  gradient_ND.narrow(0, ...range).add_(cast_NV.matmul(rows_VD));
  if (head) addHeadGradient(head, cast_NV, chunk_ND);
}

type ChunkOf = (range: Range) => HeadChunk;

/** Computes the distributions of one chunk at a time, each over the memory of the one before. */
function overChunks(
  hidden_ND: Tensor,
  weight_VD: Tensor,
  options: TokenLogpOptions,
  ranges: readonly Range[],
): ChunkOf {
  const vocabulary = options.vocabulary ?? weight_VD.size(0);
  const rows_VD = weight_VD.detach().narrow(0, 0, vocabulary);
  const largest = Math.max(0, ...ranges.map(([, length]) => paddedRows(length, vocabulary)));
  const buffers: HeadBuffers = headBuffers(largest, vocabulary, hidden_ND);
  return ([start, length]) => {
    const padded_ND = padRows(hidden_ND.narrow(0, start, length), paddedRows(length, vocabulary));
    return headChunk(padded_ND, rows_VD, length, options.temperature, buffers);
  };
}

/** Log-probability of each target and entropy of its distribution from logits [N, V], in their dtype, with a graph. */
export function termsOfLogits(logits_NV: Tensor, targets_N: Tensor): TokenLogps {
  const all_NV = logits_NV.logSoftmax(-1);
  return {
    logps_N: all_NV.gather(-1, targets_N.unsqueeze(-1)).squeeze(-1),
    entropies_N: all_NV.exp().mul(all_NV).sum(-1).neg(),
  };
}

/** Terms of the targets under the head weight_VD, with a graph. */
function headTerms(
  hidden_ND: Tensor,
  weight_VD: Tensor,
  targets_N: Tensor,
  options: TokenLogpOptions,
): TokenLogps {
  if (!kernelsServe(hidden_ND)) return termsOfLogits(headLogits(hidden_ND, weight_VD, options), targets_N);
  return tokenTerms(rawLogits(hidden_ND, weight_VD, options), targets_N, options.temperature);
}

/** Logits [N, vocabulary] in f32 of hidden_ND under the head weight_VD, divided by the temperature. */
export function headLogits(hidden_ND: Tensor, weight_VD: Tensor, options: TokenLogpOptions): Tensor {
  const logits_NV = rawLogits(hidden_ND, weight_VD, options).to('f32');
  return options.temperature === 1 ? logits_NV : logits_NV.div(options.temperature);
}

function rawLogits(hidden_ND: Tensor, weight_VD: Tensor, options: TokenLogpOptions): Tensor {
  const rows = options.vocabulary ?? weight_VD.size(0);
  const tokens = hidden_ND.size(0);
  const padded = padRows(hidden_ND, paddedRows(tokens, rows));
  return product(padded, like(weight_VD.narrow(0, 0, rows), hidden_ND)).narrow(0, 0, tokens);
}

/** Tokens rounded up, where the rows added take no more memory than a chunk may. */
function paddedRows(tokens: number, vocabulary: number): number {
  const rows = Math.ceil(tokens / rowStep) * rowStep;
  return rows * vocabulary > chunkElements ? tokens : rows;
}

/** Rows of zeros below where they cost little, so that the library meets few shapes of the head's product and compiles few. */
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
