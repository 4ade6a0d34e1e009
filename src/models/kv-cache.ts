/** Owns the keys and values of sequences being decoded, one row a sequence, preallocated and compacted in place. */

import { type DType, ids, scope, type Tensor, zeros } from '../torch/index.ts';

export interface CacheShape {
  readonly layers: number;
  readonly rows: number;
  readonly keyValueHeads: number;
  readonly capacity: number;
  readonly headDim: number;
}

/** Keys and values [rows, keyValueHeads, capacity, headDim] of every layer. Never saved: it is recomputed. */
export class KvCache implements Disposable {
  readonly shape: CacheShape;
  readonly keys: readonly Tensor[];
  readonly values: readonly Tensor[];

  constructor(shape: CacheShape, dtype: DType, device: string) {
    const { layers, rows, keyValueHeads, capacity, headDim } = shape;
    const make = () => zeros([rows, keyValueHeads, capacity, headDim], dtype, device).keep();
    this.shape = shape;
    this.keys = Array.from({ length: layers }, make);
    this.values = Array.from({ length: layers }, make);
  }

  /** Copies prefilled keys and values [P, heads, T, dim] of one layer into rows; `sources` picks a prompt a row. */
  fill(layer: number, rows: Tensor, sources: Tensor, keys: Tensor, values: Tensor): void {
    const length = keys.size(2);
    this.keys[layer]!.narrow(2, 0, length).indexCopy_(0, rows, keys.indexSelect(0, sources));
    this.values[layer]!.narrow(2, 0, length).indexCopy_(0, rows, values.indexSelect(0, sources));
  }

  /** Copies whole rows over others: how the rows of finished sequences are given to the last running ones. */
  move(from: readonly number[], to: readonly number[], length: number): void {
    if (from.length === 0) return;
    scope(() => {
      const device = this.keys[0]!.device;
      const source = ids(from, undefined, device);
      const target = ids(to, undefined, device);
      for (const cache of [...this.keys, ...this.values]) {
        const used = cache.narrow(2, 0, length);
        used.indexCopy_(0, target, used.indexSelect(0, source));
      }
    });
  }

  [Symbol.dispose](): void {
    for (const cache of [...this.keys, ...this.values]) cache.dispose();
  }
}
