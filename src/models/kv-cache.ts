/**
 * Owns the keys and values of sequences being decoded: a slot for each sequence's own tokens, and prefixes, which several
 * sequences read. Both are allocated once; nothing is copied or padded anew as sequences grow, leave and enter.
 */

import { type DType, dtypeBytes, type Tensor, zeros } from '../torch/index.ts';

export interface CacheShape {
  readonly layers: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  /** Sequences at once, and the most tokens of each, its prefix not counted. */
  readonly slots: number;
  readonly capacity: number;
  /** Shared prefixes at once, and the most tokens of each. */
  readonly prefixes: number;
  readonly prefixCapacity: number;
}

/** Keys and values [1, heads, T, dim] of one layer of one sequence. */
export interface PastKeys {
  readonly keys: Tensor;
  readonly values: Tensor;
}

/** Keys and values [2, slots, keyValueHeads, capacity, headDim] of every layer. Never saved: they are recomputed. */
export class KvCache implements Disposable {
  readonly shape: CacheShape;
  /** [0] keys, [1] values, by layer. */
  readonly own: readonly Tensor[];
  /** The same of the prefixes; empty where the shape has none. */
  readonly shared: readonly Tensor[];

  constructor(shape: CacheShape, dtype: DType, device: string) {
    const { layers, keyValueHeads, headDim, slots, capacity, prefixes, prefixCapacity } = shape;
    const made: Tensor[] = [];
    const make = (count: number, length: number) => {
      made.push(zeros([2, count, keyValueHeads, length, headDim], dtype, device).keep());
      return made.at(-1)!;
    };
    this.shape = shape;
    try {
      this.own = Array.from({ length: layers }, () => make(slots, capacity));
      this.shared = Array.from({ length: prefixes > 0 ? layers : 0 }, () => make(prefixes, prefixCapacity));
    } catch (error) {
      for (const tensor of made) tensor.dispose();
      throw error;
    }
  }

  /** Copies prefilled keys and values [P, heads, T, dim] of one layer into prefixes; `places` [P] says into which. */
  fill(layer: number, places: Tensor, keys: Tensor, values: Tensor): void {
    const target = this.shared[layer]!.narrow(3, 0, keys.size(2));
    target.select(0, 0).indexCopy_(0, places, keys);
    target.select(0, 1).indexCopy_(0, places, values);
  }

  /**
   * Copies the keys and values [1, heads, T, dim] of one layer to the positions from `start` of a prefix; returns views
   * of all [1, heads, start + T, dim] that it has then.
   */
  extend(layer: number, place: number, start: number, keys: Tensor, values: Tensor): PastKeys {
    const length = keys.size(2);
    const prefix = this.shared[layer]!.narrow(1, place, 1);
    const [allKeys, allValues] = [keys, values].map((part, i) => {
      const all = prefix.select(0, i).narrow(2, 0, start + length);
      all.narrow(2, start, length).copy_(part);
      return all;
    }) as [Tensor, Tensor];
    return { keys: allKeys, values: allValues };
  }

  [Symbol.dispose](): void {
    for (const cache of [...this.own, ...this.shared]) cache.dispose();
  }
}

/** Bytes of a cache of that shape. */
export function cacheBytes(shape: CacheShape, dtype: DType): number {
  const { layers, keyValueHeads, headDim, slots, capacity, prefixes, prefixCapacity } = shape;
  const tokens = slots * capacity + prefixes * prefixCapacity;
  return 2 * layers * keyValueHeads * headDim * tokens * dtypeBytes(dtype);
}
