/**
 * Owns attention of one new token of each running sequence over its prefix and its own tokens in the cache, by the kernel
 * or by libtorch's operators. Knows neither weights nor which sequence is whose.
 */

import type { RMSNorm } from '../nn/index.ts';
import {
  arange,
  cat,
  type DecodePast,
  type DType,
  decodeAttentionKernel,
  dtypeBytes,
  fromBytes,
  invoke,
  kernelsServe,
  Op,
  rotate,
  type Tensor,
  zeros,
} from '../torch/index.ts';
import type { CacheShape, KvCache } from './kv-cache.ts';
import type { RopeTables } from './rope.ts';

const baddbmmOp = new Op('aten::baddbmm');
const bmmOp = new Op('aten::bmm');
const fusedOp = new Op('aten::scaled_dot_product_attention');

/** Where the next token of a sequence goes. */
export interface StepPlace {
  readonly slot: number;
  /** Position of the token in the whole sequence, its prefix included. */
  readonly position: number;
  /** Which shared prefix comes before the slot's tokens; any number where `prefixLength` is 0. */
  readonly prefix: number;
  readonly prefixLength: number;
}

/** Where a decoding step writes and reads: made once a step, used by every layer. */
export interface StepContext {
  readonly cache: KvCache;
  /** i32 [N, 4]: slot, position, prefix, length of the prefix. */
  readonly places: Tensor;
  /** [2, N, dim]: cosines and signed sines. */
  readonly rotation: Tensor;
  /** What libtorch's operators need besides; null where the kernels compute. */
  readonly gathered: Gathered | null;
}

interface Gathered {
  readonly slots: Tensor;
  /** Where in its slot each token goes. */
  readonly own: Tensor;
  readonly prefixes: Tensor;
  /** Longest length of each part. */
  readonly prefixLength: number;
  readonly ownLength: number;
  /** [N * keyValueHeads, 1, prefixLength + ownLength]: 0 where a sequence has a token, -inf elsewhere. */
  readonly mask: Tensor;
}

/** The context of a step, one place a sequence. Positions must have been reserved in `rope`. */
export function stepContext(cache: KvCache, rope: RopeTables, places: readonly StepPlace[]): StepContext {
  const like = cache.own[0]!;
  const flat = Int32Array.from(
    places.flatMap(({ slot, position, prefix, prefixLength }) => [slot, position, prefix, prefixLength]),
  );
  const placed = fromBytes(flat, 'i32', [places.length, 4]).to('i32', like.device);
  const rotation = rope.rows(placed.select(1, 1).to('i64'), like.dtype);
  const gathered = kernelsServe(like) ? null : gatheredOf(cache, places, placed.to('i64'));
  return { cache, places: placed, rotation, gathered };
}

/** Lengths are rounded up so that the library meets few shapes. */
function gatheredOf(cache: KvCache, places: readonly StepPlace[], placed: Tensor): Gathered {
  const { capacity, prefixCapacity, keyValueHeads } = cache.shape;
  const like = cache.own[0]!;
  const column = (i: number) => placed.select(1, i).contiguous();
  const [slots, positions, prefixes, lengths] = [column(0), column(1), column(2), column(3)];
  const own = positions.sub(lengths);
  const longest = (length: (place: StepPlace) => number, most: number) =>
    Math.min(most, 32 * Math.ceil(Math.max(...places.map(length)) / 32));
  const prefixLength = longest((place) => place.prefixLength, prefixCapacity);
  const ownLength = longest((place) => place.position - place.prefixLength + 1, capacity);
  const beyond = (ends: Tensor, length: number) =>
    ends.unsqueeze(1).le(arange(0, length, 'i64', like.device).unsqueeze(0));
  const hidden = cat([beyond(lengths, prefixLength), beyond(own.add(1), ownLength)], 1);
  const mask = zeros(hidden.shape, like.dtype, like.device).maskedFill(hidden, Number.NEGATIVE_INFINITY);
  const n = places.length;
  return {
    slots,
    own,
    prefixes: cache.shared.length > 0 ? prefixes : slots,
    prefixLength,
    ownLength,
    mask: mask
      .unsqueeze(1)
      .expand([n, keyValueHeads, prefixLength + ownLength])
      .reshape([n * keyValueHeads, 1, prefixLength + ownLength]),
  };
}

/** Norms of the queries' and the keys' heads (Qwen3). */
export interface HeadNorms {
  readonly q: RMSNorm;
  readonly k: RMSNorm;
}

/**
 * Rotates the queries and keys of qkv [N, (heads + 2 keyValueHeads) dim], appends keys and values of one layer to the
 * cache, and attends: [N, heads dim].
 */
export function decodeAttention(
  qkv: Tensor,
  layer: number,
  context: StepContext,
  norms: HeadNorms | null,
): Tensor {
  if (context.gathered) return attendGathered(qkv, layer, context, context.gathered, norms);
  return decodeAttentionKernel(qkv, pastOf(layer, context, norms));
}

/** What the kernels read of a layer's past. */
export function pastOf(
  layer: number,
  { cache, places, rotation }: StepContext,
  norms: HeadNorms | null,
): DecodePast {
  return {
    rotation,
    norms: norms && cat([norms.q.weight.unsqueeze(0), norms.k.weight.unsqueeze(0)]),
    epsilon: norms?.q.epsilon ?? 0,
    cache: cache.own[layer]!,
    prefix: cache.shared[layer] ?? null,
    places,
  };
}

/**
 * Bytes that libtorch's operators take for one layer of a step at most: the copies of keys and values of every slot and
 * its prefix, apart and joined, the scores and the mask.
 */
export function gatheredBytes(shape: CacheShape, heads: number, dtype: DType): number {
  const { slots, keyValueHeads, headDim, capacity, prefixCapacity } = shape;
  const perToken = 4 * keyValueHeads * headDim + 2 * heads + keyValueHeads;
  return slots * (capacity + prefixCapacity) * perToken * dtypeBytes(dtype);
}

function attendGathered(
  qkv: Tensor,
  layer: number,
  { cache, rotation }: StepContext,
  { slots, own, prefixes, prefixLength, ownLength, mask }: Gathered,
  norms: HeadNorms | null,
): Tensor {
  const { keyValueHeads: groups, headDim: dim } = cache.shape;
  const n = qkv.size(0);
  const heads = qkv.size(1) / dim - 2 * groups;
  const parts = qkv.view([n, heads + 2 * groups, dim]);
  const rows = { cos: rotation.select(0, 0).unsqueeze(1), sin: rotation.select(0, 1).unsqueeze(1) };
  const placed = (first: number, count: number, norm: RMSNorm | undefined) => {
    const part = parts.narrow(1, first, count);
    return rotate(norm ? norm.forward(part) : part, rows);
  };
  const newest = [placed(heads, groups, norms?.k), parts.narrow(1, heads + groups, groups)];
  const [keys, values] = newest.map((part, i) => {
    const kept = cache.own[layer]!.select(0, i);
    kept.indexPut_([slots, null, own], part);
    const mine = kept.narrow(2, 0, ownLength).indexSelect(0, slots);
    if (prefixLength === 0) return mine.view([n * groups, ownLength, dim]);
    const before = cache.shared[layer]!.select(0, i).narrow(2, 0, prefixLength).indexSelect(0, prefixes);
    return cat([before, mine], 2).view([n * groups, prefixLength + ownLength, dim]);
  }) as [Tensor, Tensor];
  const queries = placed(0, heads, norms?.q).reshape([n * groups, heads / groups, dim]);
  if (qkv.device === 'cpu') {
    const scale = 1 / Math.sqrt(dim);
    const scores = invoke(baddbmmOp, mask.handle, queries.handle, keys.transpose(1, 2).handle, 1, scale);
    return invoke(bmmOp, scores.softmax(-1).handle, values.handle).reshape([n, heads * dim]);
  }
  // The queries that share a key are as many tokens of one head, so that the library need not repeat keys.
  const [q, k, v, seen] = [queries, keys, values, mask].map((one) => one.unsqueeze(0));
  return invoke(fusedOp, q!.handle, k!.handle, v!.handle, seen!.handle, 0, false).reshape([n, heads * dim]);
}
