/**
 * Owns the leaf layers of a decoder: Linear, Embedding, Head and RMSNorm. Their weights may be wider than their
 * inputs, and what an adapter in use changes shows in them.
 */

import {
  type DType,
  dequantised,
  gatedSilu,
  type Int8Matrix,
  kernelsServe,
  normalised,
  normalisedRows,
  type PackedProduct,
  packedLinear,
  product,
  scope,
  type Tensor,
} from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Layer } from './layer.ts';
import { takeParameter } from './module.ts';
import { PackedCopy } from './packed-copy.ts';

/** The name under which the scales of a weight in 8 bit stand beside it in a state dict. */
export const scaleName = 'weight_scale';

/**
 * y = x W^T + b, computed in the dtype of x: f32 master weights are cast to bf16 inputs in the graph. A weight whose state
 * is i8, with scales beside it, stays in 8 bit and takes no gradient.
 */
export class Linear extends Layer {
  private stored: Tensor | null;
  private ownInt8: Int8Matrix | null = null;
  private readonly ownBias: Tensor | null;
  private readonly packing = new PackedCopy();

  constructor(
    state: ReadonlyMap<string, Tensor>,
    path: string,
    sizes: { in: number; out: number; bias: boolean },
  ) {
    super();
    const values = takeParameter(state, `${path}.weight`, [sizes.out, sizes.in]);
    this.stored = this.parameter('weight', values);
    if (values.dtype === 'i8') {
      const scales = takeParameter(state, `${path}.${scaleName}`, [sizes.out]);
      this.ownInt8 = { values, scales: this.parameter(scaleName, scales) };
    }
    this.ownBias = sizes.bias
      ? this.parameter('bias', takeParameter(state, `${path}.bias`, [sizes.out]))
      : null;
  }

  /** The matrix [out, in] as it is kept, whole numbers where it is in 8 bit: for its shape and its device. */
  get storedWeight(): Tensor {
    if (this.stored) return this.stored;
    throw new ReckonError(
      'internal',
      'only-packed',
      'this model was laid out for decoding, and its matrices are there in no other form; ask the model that it was made from',
    );
  }

  /** The matrix [out, in] without any adapter; of one in 8 bit a fresh f32 tensor with the numbers it stands for. */
  get ownWeight(): Tensor {
    return this.ownInt8 ? dequantised(this.ownInt8) : this.storedWeight;
  }

  /** Without a low-rank update, which stands beside it. */
  get weight(): Tensor {
    return this.replaced?.get('weight') ?? this.ownWeight;
  }

  /** The matrix in 8 bit, where it is, and no adapter has another in its place. */
  get int8(): Int8Matrix | null {
    return this.replaced?.has('weight') ? null : this.ownInt8;
  }

  /** Has the matrix in 8 bit lie in another place, as part of a larger one say, with the same numbers. */
  moveInt8({ values, scales }: Int8Matrix): void {
    this.releaseWeight();
    this.stored = this.parameter('weight', values);
    this.ownInt8 = { values, scales: this.parameter(scaleName, scales) };
  }

  /** Frees the matrix, of which somebody else has what is read from now on. */
  releaseWeight(): void {
    for (const name of ['weight', scaleName]) this.dropParameter(name);
    this.stored = null;
    this.ownInt8 = null;
  }

  /** Whether the matrix is there packed, here or as part of a larger one, and in no other form. */
  get isOnlyPacked(): boolean {
    return this.stored === null;
  }

  /** Keeps the packed matrix alone, for a model that is only read, by inputs of `dtype`. */
  keepPacked(dtype: DType): void {
    if (!this.stored || this.isAdapted || !kernelsServe({ dtype, device: this.stored.device })) return;
    this.packing.of(this.int8 ?? this.stored, dtype);
    this.releaseWeight();
  }

  /** Frees the packed copy that decoding has made, where it is only a copy. */
  forgetPacked(): void {
    if (this.stored) this.packing[Symbol.dispose]();
    this.lowRank?.forgetPacked();
  }

  get bias(): Tensor | null {
    return this.replaced?.get('bias') ?? this.ownBias;
  }

  /** Whether the matrix itself is learned. */
  get learnsWeight(): boolean {
    return this.stored !== null && !this.lowRank && !this.int8 && this.weight.requiresGrad;
  }

  /** `wide` is x as the low-rank update reads it, where the caller has it already. */
  forward(x: Tensor, wide: Tensor | null = null): Tensor {
    const { lowRank } = this;
    if (!lowRank) return this.plain(x);
    // What the gradient does not need is freed at once, not at the end of the whole pass.
    return scope(() =>
      this.isWhole(x)
        ? lowRank.forwardWhole(x, this.frozenBase(x))
        : lowRank.forward(wide ?? lowRank.widened(x), this.plain(x), this),
    );
  }

  /** `forward` of silu(gate) * up for both [..., 2 in], side by side; under a low-rank update only these are kept for the gradient. */
  forwardGated(both: Tensor): Tensor {
    const { lowRank } = this;
    if (!lowRank || !this.isWhole(both)) return this.forward(gatedSilu(both));
    return scope(() => lowRank.forwardWhole(both, this.frozenBase(both), true));
  }

  /** Whether weight and update are one kernel for inputs like x, which then needs no wider copy of them. */
  isWhole(x: Tensor): boolean {
    const isFrozen = (this.int8 !== null || !this.weight.requiresGrad) && !this.bias?.requiresGrad;
    return isFrozen && (this.lowRank?.isWhole(x) ?? false);
  }

  private frozenBase(x: Tensor): { weight: Tensor; scales: Tensor | null; bias: Tensor | null } {
    const { int8 } = this;
    const bias = this.bias && like(this.bias, x);
    return int8
      ? { weight: int8.values, scales: int8.scales, bias }
      : { weight: like(this.weight, x), scales: null, bias };
  }

  /** y [N, out] + `residual` for the rows of a decoding step. */
  step(x: Tensor, residual: Tensor | null = null): Tensor {
    const { lowRank } = this;
    if (!lowRank) return this.rows(x, residual);
    const y = lowRank.steps ? lowRank.step(x, this.rows(x, null)) : this.forward(x);
    return residual ? residual.add(y) : y;
  }

  /** What `step` computes by the kernels of rows like x; null where they do not serve, or an update stands beside the matrix. */
  packedFor(x: Tensor): PackedProduct | null {
    return this.lowRank || !kernelsServe(x) ? null : this.packedBase(x);
  }

  private packedBase(x: Tensor): PackedProduct {
    const matrix = this.stored ? this.packing.of(this.int8 ?? this.weight, x.dtype) : this.packing.current!;
    return { matrix, bias: this.bias && like(this.bias, x) };
  }

  private rows(x: Tensor, residual: Tensor | null): Tensor {
    if (kernelsServe(x)) {
      const { matrix, bias } = this.packedBase(x);
      return packedLinear(x, matrix, bias, residual);
    }
    const y = this.plain(x);
    return residual ? residual.add(y) : y;
  }

  /** Of a weight in 8 bit that no low-rank update changes, values and scales. */
  override *mergedParameters(): IterableIterator<[string, Tensor]> {
    if (!this.ownInt8 || (this.int8 && !this.lowRank)) yield* super.mergedParameters();
    else for (const [name, own] of this.baseParameters()) yield [name, this.merged(name, own)];
  }

  override baseParameters(): Map<string, Tensor> {
    if (!this.ownInt8) return super.baseParameters();
    return new Map([['weight', this.ownWeight], ...(this.ownBias ? [['bias', this.ownBias] as const] : [])]);
  }

  override [Symbol.dispose](): void {
    this.packing[Symbol.dispose]();
    super[Symbol.dispose]();
  }

  private plain(x: Tensor): Tensor {
    const { int8 } = this;
    const bias = this.bias && like(this.bias, x);
    if (!this.stored) return packedLinear(x, this.packing.current!, bias);
    return product(x, int8 ?? like(this.weight, x), bias);
  }
}

/** Rows of a table [V, D] by id. */
export class Embedding extends Layer {
  /** The table without any adapter. */
  readonly ownWeight: Tensor;
  /** The row that learns nothing from its inputs, or -1. */
  private readonly padding: number;

  /** The pad token's row, where there is one, takes no gradient, as in PyTorch; a negative one counts from the end. */
  constructor(
    state: ReadonlyMap<string, Tensor>,
    path: string,
    { rows, width, pad = null }: { rows: number; width: number; pad?: number | null },
  ) {
    super();
    const shape = [rows, width];
    const row = pad !== null && pad < 0 ? rows + pad : (pad ?? -1);
    this.padding = row < rows ? row : -1;
    this.ownWeight = this.parameter('weight', takeParameter(state, `${path}.weight`, shape));
  }

  get weight(): Tensor {
    return this.replaced?.get('weight') ?? this.ownWeight;
  }

  /** Rows [..., D] for ids of any shape. */
  forward(ids: Tensor): Tensor {
    const y = this.weight.embedding(ids, this.padding);
    return this.lowRank ? this.lowRank.forwardRows(ids, y, this.padding) : y;
  }
}

/** The rows [V, D] that hidden states are multiplied with to give logits: its own, or those of an embedding. */
export class Head extends Layer {
  /** The rows without any adapter; `weight` has the one in use. */
  readonly ownWeight: Tensor;
  private readonly tied: Embedding | null;
  private readonly packing = new PackedCopy();

  /** Tied to `tied`, the head has no parameter of its own, and an adapter of the embedding does not reach it. */
  constructor(
    state: ReadonlyMap<string, Tensor>,
    path: string,
    sizes: { rows: number; width: number },
    tied: Embedding | null,
  ) {
    super();
    const shape = [sizes.rows, sizes.width];
    this.tied = tied;
    this.ownWeight =
      tied?.ownWeight ?? this.parameter('weight', takeParameter(state, `${path}.weight`, shape));
  }

  /** Under a low-rank update a fresh tensor each time, which the update's gradient goes through. */
  get weight(): Tensor {
    const base = this.replaced?.get('weight') ?? this.ownWeight;
    return this.lowRank ? this.lowRank.effective(base) : base;
  }

  /** Logits [N, V] of the rows x [N, D] of a decoding step, in x's dtype, over the first `vocabulary` rows of the weight. */
  step(x: Tensor, vocabulary: number): Tensor {
    if (this.lowRank || !kernelsServe(x)) return x.linear(like(this.weight.narrow(0, 0, vocabulary), x));
    return packedLinear(x, this.packing.of(this.weight, x.dtype), null, null, vocabulary);
  }

  /** Frees the packed copy that decoding has made. */
  forgetPacked(): void {
    this.packing[Symbol.dispose]();
  }

  override [Symbol.dispose](): void {
    this.forgetPacked();
    super[Symbol.dispose]();
  }

  /** A tied head shows its weight where an adapter has made it another than the embedding's. */
  override *mergedParameters(): IterableIterator<[string, Tensor]> {
    if (!this.tied) yield* super.mergedParameters();
    else if (this.isAdapted || this.tied.isAdapted) yield ['weight', this.merged('weight', this.ownWeight)];
  }

  override baseParameters(): Map<string, Tensor> {
    return new Map([['weight', this.ownWeight]]);
  }
}

/** Root mean square normalisation (Zhang and Sennrich 2019): statistics in f32, as the reference stack has them. */
export class RMSNorm extends Layer {
  readonly epsilon: number;
  private readonly ownWeight: Tensor;

  constructor(state: ReadonlyMap<string, Tensor>, path: string, width: number, epsilon: number) {
    super();
    this.ownWeight = this.parameter('weight', takeParameter(state, `${path}.weight`, [width]));
    this.epsilon = epsilon;
  }

  get weight(): Tensor {
    return this.replaced?.get('weight') ?? this.ownWeight;
  }

  /** x / rms(x) * weight over the last dimension, in the dtype of x. */
  forward(x: Tensor): Tensor {
    return this.normalise(x).mul(like(this.weight, x));
  }

  /** x / rms(x), without the weight. */
  normalise(x: Tensor): Tensor {
    return normalised(x, this.epsilon);
  }

  /** `forward` for the rows [N, width] of a decoding step. */
  step(x: Tensor): Tensor {
    return this.stepNormalise(x).mul(like(this.weight, x));
  }

  /** `normalise` for the rows [N, width] of a decoding step. */
  stepNormalise(x: Tensor): Tensor {
    return normalisedRows(x, this.epsilon);
  }
}

/** The weight in the dtype of an activation. */
export function like(weight: Tensor, x: Tensor): Tensor {
  return weight.dtype === x.dtype ? weight : weight.to(x.dtype);
}
