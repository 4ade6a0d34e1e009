/**
 * Owns the typed surface of reckon's own kernels (native/kernels/) but for products and draws, and, where it is short, the
 * slow twin of each: the same result by libtorch's operators, for other devices and for RECKON_KERNELS=off. Knows no model.
 */

import { ReckonError } from '../util/errors.ts';
import { native } from './addon.ts';
import { type DType, dtypeCode } from './dtype.ts';
import { Op } from './op.ts';
import type { PackedProduct } from './packed.ts';
import { invoke, type Tensor } from './tensor.ts';

const normaliseOp = new Op('reckon::normalise');
const swigluOp = new Op('reckon::swiglu');
const attentionOp = new Op('reckon::decode_attention');
const layerOp = new Op('reckon::decode_layer');
const vectorNormOp = new Op('aten::linalg_vector_norm');
const normalisedOp = new Op('reckon::normalised');
const gatedSiluOp = new Op('reckon::gated_silu');

/** Those that multiply pairs of bf16 in one instruction, whole sequences as single rows. */
const pairLevels: readonly string[] = ['avx512bf16', 'amx'];

let level = use(process.env['RECKON_KERNELS']);

/** The instruction set of the kernels in use, or `none`. */
export function kernelLevel(): string {
  return level;
}

/** The levels that this processor has, `none` first and the best one last. */
export function kernelLevels(): string[] {
  return ['none', ...native.kernelNames()];
}

/** Puts the kernels of a level in use, for the whole process. At the start that is what RECKON_KERNELS says, else the best. */
export function useKernels(wanted: string): void {
  level = use(wanted);
}

/** Whether the kernels compute on tensors like this: it lies on the CPU, in f32 or bf16, and they are not switched off. */
export function kernelsServe(x: { readonly dtype: DType; readonly device: string }): boolean {
  return level !== 'none' && (x.dtype === 'f32' || x.dtype === 'bf16') && x.device === 'cpu';
}

/**
 * Whether whole sequences like this go by the kernels of decoding, products and attention, so that a token has the same bits in
 * both: in bf16, where the processor multiplies it itself.
 */
export function passesHaveStepBits(x: { readonly dtype: DType; readonly device: string }): boolean {
  return x.dtype === 'bf16' && pairLevels.includes(level) && kernelsServe(x);
}

function use(wanted = ''): string {
  if (wanted === 'off' || wanted === 'none') return 'none';
  const known = native.kernelNames();
  const name = wanted === '' || wanted === 'auto' ? known.at(-1)! : wanted;
  if (known.includes(name)) {
    native.useKernels(name);
    return name;
  }
  throw new ReckonError(
    'usage',
    'unknown-kernels',
    `RECKON_KERNELS must be auto, off or one that this processor has (${known.join(', ')}), found '${wanted}'`,
  );
}

/**
 * x / rms(x) over the last dimension, statistics in f32, in the dtype of x (Zhang and Sennrich 2019). By the kernel it keeps
 * x alone for its gradient.
 */
export function normalised(x: Tensor, epsilon: number): Tensor {
  if (kernelsServe(x)) return invoke(normalisedOp, x.handle, epsilon);
  const norm = invoke(vectorNormOp, x.handle, 2, [-1], true, dtypeCode('f32'));
  const scale = norm
    .square()
    .mul(1 / x.size(-1))
    .add(epsilon)
    .rsqrt();
  return x.mul(scale.dtype === x.dtype ? scale : scale.to(x.dtype));
}

/** `normalised` for rows [N, width] without a gradient. */
export function normalisedRows(x: Tensor, epsilon: number): Tensor {
  return kernelsServe(x) ? invoke(normaliseOp, x.handle, epsilon) : normalised(x, epsilon);
}

/** silu(gate) * up for rows [N, 2 width] that hold gate and up side by side, without a gradient. */
export function swigluRows(both: Tensor): Tensor {
  return kernelsServe(both) ? invoke(swigluOp, both.handle) : gatedSilu(both);
}

/** silu(gate) * up of [..., 2 width], gate and up side by side. By the kernel it keeps these alone for its gradient. */
export function gatedSilu(both: Tensor): Tensor {
  if (kernelsServe(both)) return invoke(gatedSiluOp, both.handle);
  const width = both.size(-1) / 2;
  return both
    .narrow(-1, 0, width)
    .silu()
    .mul(both.narrow(-1, width, width));
}

/** What attention of one new token of each sequence reads besides its queries, keys and values. */
export interface DecodePast {
  /** [2, N, dim]: cosines and signed sines of each sequence's position. */
  readonly rotation: Tensor;
  /** [2, dim]: weights of the queries' and the keys' norm. */
  readonly norms: Tensor | null;
  readonly epsilon: number;
  /** [2, slots, groups, capacity, dim]; written. */
  readonly cache: Tensor;
  /** [2, prefixes, groups, capacity, dim]. */
  readonly prefix: Tensor | null;
  /** i32 [N, 4]: slot, position, prefix, length of the prefix. */
  readonly places: Tensor;
}

/**
 * Appends keys and values of qkv [N, (heads + 2 groups) dim], one token of each sequence, to the cache and attends over
 * it: [N, heads dim]. Only where `kernelsServe`.
 */
export function decodeAttentionKernel(qkv: Tensor, past: DecodePast): Tensor {
  const { rotation, norms, epsilon, cache, prefix, places } = past;
  return invoke(
    attentionOp,
    qkv.handle,
    rotation.handle,
    norms?.handle ?? null,
    epsilon,
    cache.handle,
    prefix?.handle ?? null,
    places.handle,
  );
}

/** The products of a decoder's layer, none in 8 bit; the weights of its norms are in the first and the third. */
export interface LayerProducts {
  readonly qkv: PackedProduct;
  readonly out: PackedProduct;
  readonly gateUp: PackedProduct;
  readonly down: PackedProduct;
  /** Of queries. */
  readonly heads: number;
  /** Of the layer's norms. */
  readonly epsilon: number;
}

/**
 * A whole layer for rows x [N, hidden] of a decoding step: threads share rows, where the operators that it is made of share
 * outputs and wait for each other. The same bits as theirs. Only where `kernelsServe`.
 */
export function decodeLayerKernel(x: Tensor, products: LayerProducts, past: DecodePast): Tensor {
  const { qkv, out, gateUp, down, heads, epsilon } = products;
  const four = [qkv, out, gateUp, down];
  const norms = past.norms?.handle ?? null;
  return invoke(
    layerOp,
    x.handle,
    [
      ...four.map(({ matrix }) => matrix.blocks.handle),
      ...four.map(({ bias }) => bias?.handle ?? null),
      norms,
    ],
    [heads, down.matrix.in],
    [epsilon, past.epsilon],
    past.rotation.handle,
    past.cache.handle,
    past.prefix?.handle ?? null,
    past.places.handle,
  );
}
