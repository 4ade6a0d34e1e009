/**
 * Owns the typed surface of the kernels that only whole sequences and training run, all with gradients, and the slow twin
 * of each by libtorch's operators, for other devices and for RECKON_KERNELS=off. Knows no model.
 */

import { type DType, dtypeCode } from './dtype.ts';
import { kernelsServe } from './kernels.ts';
import { Op } from './op.ts';
import { cat, invoke, Tensor } from './tensor.ts';

const rotatedOp = new Op('reckon::rotated_heads');
const foldedOp = new Op('reckon::folded');
const lowRankOp = new Op('reckon::low_rank_linear');
const updateRowsOp = new Op('reckon::add_update_rows');
const termsOp = new Op('reckon::token_terms');
const slopesOp = new Op('reckon::token_slopes_');
const attentionOp = new Op('reckon::causal_attention');
const rollOp = new Op('aten::roll');
const addcmulOp = new Op('aten::addcmul');

/** Cosines and signed sines (the first half has the minus of rotate_half), broadcastable to what they rotate. */
export interface Rotation {
  readonly cos: Tensor;
  readonly sin: Tensor;
}

/** Rotates the last dimension of x: x cos + swapHalves(x) sin. */
export function rotate(x: Tensor, { cos, sin }: Rotation): Tensor {
  const swapped = invoke(rollOp, x.handle, [x.size(-1) / 2], [-1]);
  return invoke(addcmulOp, x.mul(cos).handle, swapped.handle, sin.handle);
}

/** x [B, T, heads, dim] with its first `turned` heads rotated by tables [B or 1, T, 1, dim]. */
export function rotatedHeads(x: Tensor, rotation: Rotation, turned: number): Tensor {
  if (kernelsServe(x)) {
    return invoke(rotatedOp, x.handle, rotation.cos.handle, rotation.sin.handle, turned);
  }
  const rest = x.narrow(-2, turned, x.size(-2) - turned);
  return cat([rotate(x.narrow(-2, 0, turned), rotation), rest], -2);
}

/** f32 matrices [_, width] below each other, their columns times those of the norm [width], rounded to `dtype` last. */
export function folded(weights: readonly Tensor[], norm: Tensor, dtype: DType): Tensor {
  const isServed = dtype === 'bf16' && [...weights, norm].every((one) => one.dtype === 'f32');
  if (isServed && kernelsServe(norm)) {
    const handles = weights.map((weight) => weight.handle);
    return invoke(foldedOp, handles, norm.handle, dtypeCode(dtype));
  }
  const joined = cat(weights).mul(norm);
  return joined.dtype === dtype ? joined : joined.to(dtype);
}

/** Heads' widths that the attention kernel computes with. */
const headStep = 16;

/** Whether `causalHeads` computes on heads of that width, in the dtype and on the device of x; else the caller has its own ways. */
export function causalHeadsServe(x: Tensor, headDim: number): boolean {
  return x.dtype === 'bf16' && kernelsServe(x) && headDim % headStep === 0;
}

/**
 * Attention [B, T, heads, dim] of rotated bf16 heads [B, T, heads + 2 groups, dim] (queries, keys, values), each token over
 * those before it and itself, from the one that `starts` [B, T] names, else the first. Memory grows with T, not its square.
 */
export function causalHeads(qkv: Tensor, groups: number, starts: Tensor | null = null): Tensor {
  return invoke(attentionOp, qkv.handle, groups, starts?.handle ?? null);
}

/** A frozen weight [out, in], in 8 bit where it has scales, and the update scale * b a beside it, in f32. */
export interface LowRankLayer {
  readonly weight: Tensor;
  readonly scales: Tensor | null;
  readonly bias: Tensor | null;
  readonly a: Tensor;
  readonly b: Tensor;
  readonly scale: number;
}

/**
 * x [..., in] weight^T + bias, rounded, + scale (x a^T) b^T, rounded. For the gradient it keeps x as it came and a rank of
 * numbers a row. `gated`: x [..., 2 in] is gate and up, the layer reads their `gatedSilu`, and that is computed again for the
 * gradient. Only where `kernelsServe`; the twin is `LowRank.forward` in src/nn.
 */
export function lowRankLinear(x: Tensor, layer: LowRankLayer, gated = false): Tensor {
  const { weight, scales, bias, a, b, scale } = layer;
  const rest = [scales?.handle ?? null, bias?.handle ?? null, a.handle, b.handle, scale, gated] as const;
  return invoke(lowRankOp, x.handle, weight.handle, ...rest);
}

/**
 * Adds scale * (x a^T) b^T to the rows y [N, out] of a decoding step with inputs x [N, in], and returns them; with the bits of
 * `lowRankLinear`. b comes transposed, [rank, out]. No gradient. Only where `kernelsServe`; the twin is in `LowRank.step` of
 * src/nn.
 */
export function addUpdateRows(x: Tensor, a: Tensor, transposedB: Tensor, scale: number, y: Tensor): Tensor {
  return invoke(updateRowsOp, x.handle, a.handle, transposedB.handle, scale, y.handle);
}

/** What is known of a token under softmax(logits / temperature), f32 [N]. */
export interface TokenTerms {
  /** With the bits that the draw of a token gave it. */
  readonly logps_N: Tensor;
  readonly entropies_N: Tensor;
  /** Logarithm of the sum of exp(logits / temperature), without a gradient. */
  readonly norms_N: Tensor;
}

/** Terms of targets i64 [N] from logits [N, V] as they come. For the gradient it keeps the logits. Only where `kernelsServe`. */
export function tokenTerms(logits_NV: Tensor, targets_N: Tensor, temperature: number): TokenTerms {
  const results = termsOp.raw(logits_NV.handle, targets_N.handle, temperature) as [number, number, number];
  const [logps_N, entropies_N, norms_N] = results.map((handle) => new Tensor(handle)) as [
    Tensor,
    Tensor,
    Tensor,
  ];
  return { logps_N, entropies_N, norms_N };
}

/** Overwrites the logits [N, V] with their gradient, from those f32 [N] of the terms. No gradient. Only where `kernelsServe`. */
export function tokenSlopes(
  logits_NV: Tensor,
  targets_N: Tensor,
  temperature: number,
  { entropies_N, norms_N }: TokenTerms,
  slopes: { readonly logps_N: Tensor | null; readonly entropies_N: Tensor | null },
): Tensor {
  const known = [entropies_N.handle, norms_N.handle] as const;
  const asked = [slopes.logps_N?.handle ?? null, slopes.entropies_N?.handle ?? null] as const;
  return invoke(slopesOp, logits_NV.handle, targets_N.handle, temperature, ...known, ...asked);
}
