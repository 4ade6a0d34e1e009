/**
 * Owns scaled dot-product attention with grouped heads over whole sequences; of one token against a cache it is in
 * decode-attention.ts.
 * Short sequences on the CPU go through batched products: measured 2 to 7 times faster there, forward and backward,
 * than the library's fused attention in bf16 (docs/performance.md); the rest takes the library's.
 */

import {
  arange,
  cat,
  causalHeads,
  causalHeadsServe,
  invoke,
  Op,
  Tensor,
  where,
  zeros,
} from '../torch/index.ts';

const fusedOp = new Op('aten::scaled_dot_product_attention');
const baddbmmOp = new Op('aten::baddbmm');
const bmmOp = new Op('aten::bmm');
const cummaxOp = new Op('aten::cummax');

/** Scores of longer sequences would take more memory than the products save time. */
const longestProduct = 512;

/** What the tokens of rows see: null is all before them and themselves. Of a form that `attendHeads` reads on these heads. */
export interface Sight {
  /** Additive, [B, T, T]. */
  readonly mask: Tensor | null;
  /** The first token that each one sees, i32 [B, T]. */
  readonly starts: Tensor | null;
}

const allBefore: Sight = { mask: null, starts: null };

/** What tokens see of rows of several segments, for heads of that width in the dtype and on the device of `like`. */
export function sightOf(segments_BT: Tensor | null, like: Tensor, headDim: number): Sight {
  if (!segments_BT) return allBefore;
  return causalHeadsServe(like, headDim)
    ? { mask: null, starts: segmentStarts(segments_BT) }
    : { mask: segmentMask(segments_BT, like), starts: null };
}

/** The place [B, T] where each token's segment begins. */
function segmentStarts(segments_BT: Tensor): Tensor {
  const length = segments_BT.size(1);
  const before = cat([segments_BT.narrow(1, 0, 1), segments_BT.narrow(1, 0, length - 1)], 1);
  const places = arange(0, length, 'i64', segments_BT.device).unsqueeze(0).expand(segments_BT.shape);
  const begins = where(segments_BT.eq(before), zeros(segments_BT.shape, 'i64', segments_BT.device), places);
  const [latest, which] = cummaxOp.raw(begins.handle, 1) as [number, number];
  new Tensor(which).dispose();
  return new Tensor(latest).to('i32');
}

/**
 * Attention [B, T, heads * dim] of rotated heads [B, T, heads + 2 groups, dim]: queries, keys, values. Without a kernel for
 * them by `causalAttention`.
 */
export function attendHeads(qkv: Tensor, groups: number, { mask, starts }: Sight = allBefore): Tensor {
  const [b, t, all, dim] = qkv.shape as [number, number, number, number];
  const heads = all - 2 * groups;
  if (causalHeadsServe(qkv, dim)) return causalHeads(qkv, groups, starts).view([b, t, heads * dim]);
  const part = (first: number, count: number) => qkv.narrow(2, first, count);
  return causalAttention(part(0, heads), part(heads, groups), part(heads + groups, groups), mask);
}

/** Additive mask [B, T, T]: 0 where a token sees an earlier one or itself of its own segment, -inf elsewhere. */
function segmentMask(segments_BT: Tensor, like: Tensor): Tensor {
  const length = segments_BT.size(1);
  const apart = segments_BT.unsqueeze(2).eq(segments_BT.unsqueeze(1)).logicalNot();
  return zeros([segments_BT.size(0), length, length], like.dtype, like.device)
    .maskedFill(apart, Number.NEGATIVE_INFINITY)
    .add(causalMask(length, like));
}

/**
 * Attention of q [B, T, heads, dim] over k, v [B, T, keyValueHeads, dim]: [B, T, heads * dim]. Causal, or by `mask`
 * [B, T, T], which then says everything.
 */
export function causalAttention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | null = null): Tensor {
  const [b, t, heads, dim] = q.shape as [number, number, number, number];
  const groups = k.size(2);
  if (t > longestProduct || q.device !== 'cpu') {
    const out = invoke(
      fusedOp,
      q.transpose(1, 2).handle,
      k.transpose(1, 2).handle,
      v.transpose(1, 2).handle,
      mask ? mask.unsqueeze(1).handle : null,
      0,
      mask === null,
      null,
      heads !== groups,
    );
    return out.transpose(1, 2).reshape([b, t, heads * dim]);
  }
  const shared = heads / groups;
  // The queries that share a key are the rows of one product, so keys and values are never repeated.
  const rows = q
    .view([b, t, groups, shared, dim])
    .permute([0, 2, 3, 1, 4])
    .reshape([b * groups, shared * t, dim]);
  const keys = k.transpose(1, 2).reshape([b * groups, t, dim]);
  const values = v.transpose(1, 2).reshape([b * groups, t, dim]);
  const out = weighted(
    rows,
    keys,
    values,
    mask
      ? mask
          .view([b, 1, 1, t, t])
          .expand([b, groups, shared, t, t])
          .reshape([b * groups, shared * t, t])
      : causalMask(t, q)
          .expand([shared, t, t])
          .reshape([1, shared * t, t]),
  );
  return out
    .view([b, groups, shared, t, dim])
    .permute([0, 3, 1, 2, 4])
    .reshape([b, t, heads * dim]);
}

/**
 * Attention of q [1, T, heads, dim], the last T of a sequence, over all its keys and values [1, keyValueHeads, L, dim]:
 * [1, T, heads * dim]. Computed as that of the whole sequence is, so that both round alike.
 */
export function attendPast(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor): Tensor {
  const [, t, heads, dim] = q.shape as [number, number, number, number];
  const groups = keys.size(1);
  const length = keys.size(2);
  if (length > longestProduct || q.device !== 'cpu') {
    const handles = [q.transpose(1, 2), keys, values, mask].map((one) => one.handle) as [
      number,
      number,
      number,
      number,
    ];
    const out = invoke(fusedOp, ...handles, 0, false, null, heads !== groups);
    return out.transpose(1, 2).reshape([1, t, heads * dim]);
  }
  const shared = heads / groups;
  const rows = q
    .view([t, groups, shared, dim])
    .permute([1, 2, 0, 3])
    .reshape([groups, shared * t, dim]);
  const masks = mask.expand([shared, t, length]).reshape([1, shared * t, length]);
  return weighted(rows, keys.select(0, 0), values.select(0, 0), masks)
    .view([groups, shared, t, dim])
    .permute([2, 0, 1, 3])
    .reshape([1, t, heads * dim]);
}

/** Additive mask [T, start + T] of the tokens from `start`: 0 where one sees an earlier one or itself, -inf elsewhere. */
export function pastMask(start: number, length: number, like: Tensor): Tensor {
  const places = arange(0, start + length, 'i64', like.device);
  const beyond = places.narrow(0, start, length).unsqueeze(1).lt(places.unsqueeze(0));
  return zeros(beyond.shape, like.dtype, like.device).maskedFill(beyond, Number.NEGATIVE_INFINITY);
}

function weighted(rows: Tensor, keys: Tensor, values: Tensor, mask: Tensor): Tensor {
  const scale = 1 / Math.sqrt(rows.size(-1));
  const scores = invoke(baddbmmOp, mask.handle, rows.handle, keys.transpose(1, 2).handle, 1, scale);
  return invoke(bmmOp, scores.softmax(-1).handle, values.handle);
}

function causalMask(length: number, like: Tensor): Tensor {
  return pastMask(0, length, like);
}
