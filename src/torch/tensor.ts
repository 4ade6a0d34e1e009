/**
 * Owns the Tensor class: a handle to a libtorch tensor and the operators that the project uses, under their upstream
 * names in camelCase. Any other operator is reached through `op` in any-op.ts. Deviations from upstream: results are
 * fresh handles even for in-place operators; `tensor` and `zeros` take sizes as one array.
 */

import { ReckonError } from '../util/errors.ts';
import { type Handle, type NativeValue, native } from './addon.ts';
import { type DType, dtypeBytes, dtypeCode, dtypeOf } from './dtype.ts';
import { lacksMemory, outOfMemory } from './memory.ts';
import { Op } from './op.ts';

const ops = {
  add: new Op('aten::add', 'Tensor'),
  addScalar: new Op('aten::add', 'Scalar'),
  addInPlace: new Op('aten::add_', 'Tensor'),
  sub: new Op('aten::sub', 'Tensor'),
  subScalar: new Op('aten::sub', 'Scalar'),
  mul: new Op('aten::mul', 'Tensor'),
  mulScalar: new Op('aten::mul', 'Scalar'),
  mulScalarInPlace: new Op('aten::mul_', 'Scalar'),
  div: new Op('aten::div', 'Tensor'),
  divScalar: new Op('aten::div', 'Scalar'),
  neg: new Op('aten::neg'),
  exp: new Op('aten::exp'),
  log: new Op('aten::log'),
  sqrt: new Op('aten::sqrt'),
  rsqrt: new Op('aten::rsqrt'),
  square: new Op('aten::square'),
  cos: new Op('aten::cos'),
  sin: new Op('aten::sin'),
  silu: new Op('aten::silu'),
  sigmoid: new Op('aten::sigmoid'),
  matmul: new Op('aten::matmul'),
  linear: new Op('aten::linear'),
  embedding: new Op('aten::embedding'),
  minimum: new Op('aten::minimum'),
  maximum: new Op('aten::maximum'),
  clamp: new Op('aten::clamp'),
  where: new Op('aten::where', 'self'),
  maskedFill: new Op('aten::masked_fill', 'Scalar'),
  sum: new Op('aten::sum'),
  sumDim: new Op('aten::sum', 'dim_IntList'),
  meanDim: new Op('aten::mean', 'dim'),
  mean: new Op('aten::mean'),
  amax: new Op('aten::amax'),
  argmax: new Op('aten::argmax'),
  cumsum: new Op('aten::cumsum'),
  softmax: new Op('aten::softmax', 'int'),
  logSoftmax: new Op('aten::log_softmax', 'int'),
  logsumexp: new Op('aten::logsumexp'),
  gather: new Op('aten::gather'),
  indexSelect: new Op('aten::index_select'),
  indexCopyInPlace: new Op('aten::index_copy_'),
  indexPutInPlace: new Op('aten::index_put_'),
  indexAdd: new Op('aten::index_add'),
  copyInPlace: new Op('aten::copy_'),
  fillInPlace: new Op('aten::fill_', 'Scalar'),
  zeroInPlace: new Op('aten::zero_'),
  view: new Op('aten::view'),
  reshape: new Op('aten::reshape'),
  transpose: new Op('aten::transpose', 'int'),
  permute: new Op('aten::permute'),
  unsqueeze: new Op('aten::unsqueeze'),
  squeeze: new Op('aten::squeeze', 'dim'),
  expand: new Op('aten::expand'),
  narrow: new Op('aten::narrow'),
  select: new Op('aten::select', 'int'),
  contiguous: new Op('aten::contiguous'),
  clone: new Op('aten::clone'),
  detach: new Op('aten::detach'),
  toDtype: new Op('aten::to', 'dtype'),
  toDevice: new Op('aten::to', 'device'),
  cat: new Op('aten::cat'),
  stack: new Op('aten::stack'),
  eq: new Op('aten::eq', 'Tensor'),
  lt: new Op('aten::lt', 'Tensor'),
  le: new Op('aten::le', 'Tensor'),
  ltScalar: new Op('aten::lt', 'Scalar'),
  gtScalar: new Op('aten::gt', 'Scalar'),
  logicalAnd: new Op('aten::logical_and'),
  logicalNot: new Op('aten::logical_not'),
  zeros: new Op('aten::zeros'),
  full: new Op('aten::full'),
  arange: new Op('aten::arange', 'start'),
  isFinite: new Op('aten::isfinite'),
  all: new Op('aten::all'),
};

/** Calls an operator on native values (tensors as handles) and wraps the one tensor that it returns. */
export function invoke(
  op: Op,
  a?: NativeValue,
  b?: NativeValue,
  c?: NativeValue,
  d?: NativeValue,
  e?: NativeValue,
  f?: NativeValue,
  g?: NativeValue,
  h?: NativeValue,
): Tensor {
  return new Tensor(op.raw(a, b, c, d, e, f, g, h) as Handle);
}

/** A libtorch tensor. It is freed by the scope that it was made in, or by `dispose`; using it afterwards is an error. */
export class Tensor implements Disposable {
  readonly handle: Handle;

  /** Wraps a handle that the addon returned; tensors are made by `tensor`, `zeros` and operators. */
  constructor(handle: Handle) {
    this.handle = handle;
  }

  // What it is.
  get shape(): number[] {
    return native.sizes(this.handle);
  }
  get dtype(): DType {
    return dtypeOf(native.dtype(this.handle));
  }
  get device(): string {
    return native.device(this.handle);
  }
  get requiresGrad(): boolean {
    return native.requiresGrad(this.handle);
  }
  /** Number of elements. */
  get numel(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }
  /** Size along a dimension; negative counts from the end. */
  size(dim: number): number {
    const shape = this.shape;
    const size = shape.at(dim);
    if (size !== undefined) return size;
    throw new ReckonError(
      'tensor',
      'no-such-dim',
      `dimension ${dim} does not exist in shape [${shape.join(', ')}]`,
    );
  }

  // Its life.
  /** Frees it now; freeing twice is harmless. */
  dispose(): void {
    native.release(this.handle);
  }
  [Symbol.dispose](): void {
    native.release(this.handle);
  }
  /** Takes it out of its scope: it lives until `dispose`. Returns itself. */
  keep(): this {
    native.keep(this.handle);
    return this;
  }

  // Reading values (each waits for the device).
  /** All elements, row-major, as f32 (integers and booleans converted). */
  toFloat32(): Float32Array {
    return this.read('f32', (n) => new Float32Array(n));
  }
  toFloat64(): Float64Array {
    return this.read('f64', (n) => new Float64Array(n));
  }
  /** All elements as 32-bit integers: token ids, masks and counts fit. */
  toInt32(): Int32Array {
    return this.read('i32', (n) => new Int32Array(n));
  }
  /** All elements in the tensor's own dtype, as bytes. */
  toBytes(): Uint8Array {
    const bytes = new Uint8Array(this.numel * dtypeBytes(this.dtype));
    native.toBytes(this.handle, bytes);
    return bytes;
  }
  /** The one element of a one-element tensor. */
  item(): number {
    const values = this.toFloat64();
    if (values.length === 1) return values[0]!;
    throw new ReckonError(
      'tensor',
      'not-one-element',
      `item() needs one element, found shape [${this.shape.join(', ')}]`,
    );
  }
  private read<T extends NodeJS.TypedArray>(dtype: DType, make: (length: number) => T): T {
    const target = make(this.numel);
    if (this.dtype === dtype) {
      native.toBytes(this.handle, target);
      return target;
    }
    using detached = this.detach();
    using converted = detached.to(dtype);
    native.toBytes(converted.handle, target);
    return target;
  }

  // Gradients.
  requiresGrad_(on = true): this {
    native.setRequiresGrad(this.handle, on);
    return this;
  }
  /** The accumulated gradient, or null. */
  get grad(): Tensor | null {
    const handle = native.grad(this.handle);
    return handle === undefined ? null : new Tensor(handle);
  }
  set grad(gradient: Tensor | null) {
    native.setGrad(this.handle, gradient?.handle ?? null);
  }

  // Arithmetic.
  add(other: Tensor | number, alpha?: number): Tensor {
    return typeof other === 'number'
      ? invoke(ops.addScalar, this.handle, other)
      : invoke(ops.add, this.handle, other.handle, alpha);
  }
  add_(other: Tensor, alpha?: number): Tensor {
    return invoke(ops.addInPlace, this.handle, other.handle, alpha);
  }
  sub(other: Tensor | number): Tensor {
    return typeof other === 'number'
      ? invoke(ops.subScalar, this.handle, other)
      : invoke(ops.sub, this.handle, other.handle);
  }
  mul(other: Tensor | number): Tensor {
    return typeof other === 'number'
      ? invoke(ops.mulScalar, this.handle, other)
      : invoke(ops.mul, this.handle, other.handle);
  }
  mul_(factor: number): Tensor {
    return invoke(ops.mulScalarInPlace, this.handle, factor);
  }
  div(other: Tensor | number): Tensor {
    return typeof other === 'number'
      ? invoke(ops.divScalar, this.handle, other)
      : invoke(ops.div, this.handle, other.handle);
  }
  neg(): Tensor {
    return invoke(ops.neg, this.handle);
  }
  exp(): Tensor {
    return invoke(ops.exp, this.handle);
  }
  log(): Tensor {
    return invoke(ops.log, this.handle);
  }
  sqrt(): Tensor {
    return invoke(ops.sqrt, this.handle);
  }
  rsqrt(): Tensor {
    return invoke(ops.rsqrt, this.handle);
  }
  square(): Tensor {
    return invoke(ops.square, this.handle);
  }
  cos(): Tensor {
    return invoke(ops.cos, this.handle);
  }
  sin(): Tensor {
    return invoke(ops.sin, this.handle);
  }
  silu(): Tensor {
    return invoke(ops.silu, this.handle);
  }
  sigmoid(): Tensor {
    return invoke(ops.sigmoid, this.handle);
  }
  minimum(other: Tensor): Tensor {
    return invoke(ops.minimum, this.handle, other.handle);
  }
  maximum(other: Tensor): Tensor {
    return invoke(ops.maximum, this.handle, other.handle);
  }
  clamp(min: number | null, max: number | null = null): Tensor {
    return invoke(ops.clamp, this.handle, min, max);
  }
  maskedFill(mask: Tensor, value: number): Tensor {
    return invoke(ops.maskedFill, this.handle, mask.handle, value);
  }

  // Products.
  matmul(other: Tensor): Tensor {
    return invoke(ops.matmul, this.handle, other.handle);
  }
  /** `this` times the transpose of `weight` [out, in], plus bias. */
  linear(weight: Tensor, bias: Tensor | null = null): Tensor {
    return invoke(ops.linear, this.handle, weight.handle, bias?.handle ?? null);
  }
  /** Rows of `this` [V, D] for ids of any shape; the row `padding`, where it is not -1, gets no gradient from here. */
  embedding(ids: Tensor, padding = -1): Tensor {
    return invoke(ops.embedding, this.handle, ids.handle, padding);
  }

  // Reductions.
  sum(dim?: number, keepdim = false): Tensor {
    return dim === undefined ? invoke(ops.sum, this.handle) : invoke(ops.sumDim, this.handle, [dim], keepdim);
  }
  mean(dim?: number, keepdim = false): Tensor {
    return dim === undefined
      ? invoke(ops.mean, this.handle)
      : invoke(ops.meanDim, this.handle, [dim], keepdim);
  }
  amax(dim: number, keepdim = false): Tensor {
    return invoke(ops.amax, this.handle, [dim], keepdim);
  }
  argmax(dim: number): Tensor {
    return invoke(ops.argmax, this.handle, dim);
  }
  cumsum(dim: number): Tensor {
    return invoke(ops.cumsum, this.handle, dim);
  }
  softmax(dim: number): Tensor {
    return invoke(ops.softmax, this.handle, dim);
  }
  logSoftmax(dim: number): Tensor {
    return invoke(ops.logSoftmax, this.handle, dim);
  }
  logsumexp(dim: number, keepdim = false): Tensor {
    return invoke(ops.logsumexp, this.handle, [dim], keepdim);
  }
  isFinite(): Tensor {
    return invoke(ops.isFinite, this.handle);
  }
  all(): Tensor {
    return invoke(ops.all, this.handle);
  }

  // Comparison.
  eq(other: Tensor): Tensor {
    return invoke(ops.eq, this.handle, other.handle);
  }
  lt(other: Tensor | number): Tensor {
    return typeof other === 'number'
      ? invoke(ops.ltScalar, this.handle, other)
      : invoke(ops.lt, this.handle, other.handle);
  }
  le(other: Tensor): Tensor {
    return invoke(ops.le, this.handle, other.handle);
  }
  gt(other: number): Tensor {
    return invoke(ops.gtScalar, this.handle, other);
  }
  logicalAnd(other: Tensor): Tensor {
    return invoke(ops.logicalAnd, this.handle, other.handle);
  }
  logicalNot(): Tensor {
    return invoke(ops.logicalNot, this.handle);
  }

  // Selection and writing.
  gather(dim: number, index: Tensor): Tensor {
    return invoke(ops.gather, this.handle, dim, index.handle);
  }
  indexSelect(dim: number, index: Tensor): Tensor {
    return invoke(ops.indexSelect, this.handle, dim, index.handle);
  }
  indexCopy_(dim: number, index: Tensor, source: Tensor): Tensor {
    return invoke(ops.indexCopyInPlace, this.handle, dim, index.handle, source.handle);
  }
  /** Writes `values` where the index tensors point, one a dimension from the first; null leaves a dimension whole. */
  indexPut_(indices: readonly (Tensor | null)[], values: Tensor): Tensor {
    return invoke(
      ops.indexPutInPlace,
      this.handle,
      indices.map((i) => i?.handle ?? null),
      values.handle,
    );
  }
  indexAdd(dim: number, index: Tensor, source: Tensor): Tensor {
    return invoke(ops.indexAdd, this.handle, dim, index.handle, source.handle);
  }
  copy_(source: Tensor): Tensor {
    return invoke(ops.copyInPlace, this.handle, source.handle);
  }
  fill_(value: number): Tensor {
    return invoke(ops.fillInPlace, this.handle, value);
  }
  zero_(): Tensor {
    return invoke(ops.zeroInPlace, this.handle);
  }

  // Shape.
  view(shape: readonly number[]): Tensor {
    return invoke(ops.view, this.handle, shape);
  }
  reshape(shape: readonly number[]): Tensor {
    return invoke(ops.reshape, this.handle, shape);
  }
  transpose(dim0: number, dim1: number): Tensor {
    return invoke(ops.transpose, this.handle, dim0, dim1);
  }
  permute(dims: readonly number[]): Tensor {
    return invoke(ops.permute, this.handle, dims);
  }
  unsqueeze(dim: number): Tensor {
    return invoke(ops.unsqueeze, this.handle, dim);
  }
  squeeze(dim: number): Tensor {
    return invoke(ops.squeeze, this.handle, dim);
  }
  expand(shape: readonly number[]): Tensor {
    return invoke(ops.expand, this.handle, shape);
  }
  narrow(dim: number, start: number, length: number): Tensor {
    return invoke(ops.narrow, this.handle, dim, start, length);
  }
  select(dim: number, index: number): Tensor {
    return invoke(ops.select, this.handle, dim, index);
  }
  contiguous(): Tensor {
    return invoke(ops.contiguous, this.handle);
  }
  clone(): Tensor {
    return invoke(ops.clone, this.handle);
  }
  detach(): Tensor {
    return invoke(ops.detach, this.handle);
  }
  /**
   * The same values in another dtype or on another device (itself, as a fresh handle, where nothing changes). On its way to a
   * GPU a copy waits for nothing: what it is taken from may change or go at once.
   */
  to(dtype: DType, device?: string): Tensor {
    return device === undefined
      ? invoke(ops.toDtype, this.handle, dtypeCode(dtype))
      : invoke(ops.toDevice, this.handle, device, dtypeCode(dtype), device.startsWith('cuda'));
  }
}

/** The dtypes that plain numbers can be turned into directly. */
export type HostDType = 'f32' | 'f64' | 'i32' | 'i64' | 'bool';

function typedArray(values: readonly number[], dtype: HostDType): NodeJS.TypedArray {
  if (dtype === 'f32') return Float32Array.from(values);
  if (dtype === 'f64') return Float64Array.from(values);
  if (dtype === 'i32') return Int32Array.from(values);
  if (dtype === 'i64') return BigInt64Array.from(values, BigInt);
  return Uint8Array.from(values, (value) => (value ? 1 : 0));
}

/** A CPU tensor from numbers, row-major; `shape` defaults to one dimension. */
export function tensor(
  values: readonly number[],
  options: { dtype?: HostDType; shape?: readonly number[]; device?: string } = {},
): Tensor {
  const dtype = options.dtype ?? 'f32';
  const made = fromBytes(typedArray(values, dtype), dtype, options.shape ?? [values.length]);
  return placed(made, dtype, options.device);
}

/** A CPU tensor that owns a copy of `bytes`, which must be exactly as long as shape and dtype say. */
export function fromBytes(bytes: NodeJS.TypedArray, dtype: DType, shape: readonly number[]): Tensor {
  try {
    return new Tensor(native.fromBytes(bytes, dtypeCode(dtype), shape));
  } catch (error) {
    if (lacksMemory(error)) throw outOfMemory(`${dtype}[${shape.join(', ')}]`, error);
    throw new ReckonError(
      'tensor',
      'bad-bytes',
      `${dtype}[${shape.join(', ')}]: ${(error as Error).message}`,
    );
  }
}

/** Token ids as i64, [ids.length] or `shape`. */
export function ids(
  values: Int32Array | readonly number[],
  shape?: readonly number[],
  device?: string,
): Tensor {
  using small = fromBytes(Int32Array.from(values), 'i32', shape ?? [values.length]);
  return small.to('i64', device);
}

export function zeros(shape: readonly number[], dtype: DType = 'f32', device = 'cpu'): Tensor {
  return invoke(ops.zeros, shape, dtypeCode(dtype), undefined, device);
}

export function full(shape: readonly number[], value: number, dtype: DType = 'f32', device = 'cpu'): Tensor {
  return invoke(ops.full, shape, value, dtypeCode(dtype), undefined, device);
}

/** start, start + 1, ... end - 1. */
export function arange(start: number, end: number, dtype: DType = 'i64', device = 'cpu'): Tensor {
  return invoke(ops.arange, start, end, dtypeCode(dtype), undefined, device);
}

export function cat(tensors: readonly Tensor[], dim = 0): Tensor {
  return invoke(
    ops.cat,
    tensors.map((t) => t.handle),
    dim,
  );
}

export function stack(tensors: readonly Tensor[], dim = 0): Tensor {
  return invoke(
    ops.stack,
    tensors.map((t) => t.handle),
    dim,
  );
}

export function where(condition: Tensor, yes: Tensor, no: Tensor): Tensor {
  return invoke(ops.where, condition.handle, yes.handle, no.handle);
}

function placed(made: Tensor, dtype: DType, device: string | undefined): Tensor {
  if (device === undefined || device === 'cpu') return made;
  using host = made;
  return host.to(dtype, device);
}
