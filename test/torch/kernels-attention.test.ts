import { afterAll, describe, expect, it } from 'vitest';
import { decodeAttention } from '../../src/models/decode-attention.ts';
import { type CacheShape, KvCache, type StepPlace, stepContext } from '../../src/models/index.ts';
import { RopeTables } from '../../src/models/rope.ts';
import { RMSNorm } from '../../src/nn/index.ts';
import {
  type DType,
  fromBytes,
  kernelLevel,
  kernelLevels,
  noGrad,
  scope,
  type Tensor,
  useKernels,
} from '../../src/torch/index.ts';
import { Rng } from '../../src/util/rng.ts';
import { assertNoLeaks, largestDifference } from './tiny.ts';

assertNoLeaks();

const usual = kernelLevel();
afterAll(() => useKernels(usual));

/** Numbers between -2 and 2, the same for the same name. */
function random(name: string, shape: readonly number[], dtype: DType): Tensor {
  const rng = new Rng({ seed: 5, purpose: 'test', id: name });
  const count = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: count }, (_, i) => rng.wordAt(i) / 2 ** 30 - 2);
  return fromBytes(values, 'f32', shape).to(dtype);
}

interface Shape {
  readonly heads: number;
  readonly groups: number;
  readonly dim: number;
  readonly norms: boolean;
}

/** Attention over a cache of random content: what it gives, and what the cache holds afterwards. */
function attend(
  level: string,
  { heads, groups, dim, norms }: Shape,
  dtype: DType,
  places: StepPlace[],
  rows: number[],
) {
  const shape: CacheShape = {
    layers: 1,
    keyValueHeads: groups,
    headDim: dim,
    slots: 6,
    capacity: 40,
    prefixes: 3,
    prefixCapacity: 70,
  };
  useKernels(level);
  using cache = new KvCache(shape, dtype, 'cpu');
  using rope = new RopeTables({ headDim: dim, ropeTheta: 1e4, ropeScaling: null, maxPositions: 128 });
  const result = noGrad(() =>
    scope(() => {
      cache.own[0]!.copy_(random('own', cache.own[0]!.shape, dtype));
      cache.shared[0]!.copy_(random('shared', cache.shared[0]!.shape, dtype));
      const qkv = random('qkv', [places.length, (heads + 2 * groups) * dim], dtype);
      const norm = (name: string) => {
        const weight = random(name, [dim], dtype);
        return new RMSNorm(new Map([[`${name}.weight`, weight]]), name, dim, 1e-6);
      };
      const pair = norms ? { q: norm('q'), k: norm('k') } : null;
      const chosen = rows.map((row) => qkv.narrow(0, row, 1));
      const some = chosen.length === places.length ? qkv : chosen[0]!;
      const at = rows.map((row) => places[row]!);
      const y = decodeAttention(some, 0, stepContext(cache, rope, at), pair).toFloat32();
      const own = cache.own[0]!.toFloat32();
      pair?.q[Symbol.dispose]();
      pair?.k[Symbol.dispose]();
      return { y, own };
    }),
  );
  useKernels(usual);
  return result;
}

const places: StepPlace[] = [
  { slot: 2, position: 0, prefix: 0, prefixLength: 0 },
  { slot: 0, position: 37, prefix: 0, prefixLength: 0 },
  { slot: 5, position: 70, prefix: 2, prefixLength: 70 },
  { slot: 1, position: 75, prefix: 2, prefixLength: 70 },
  { slot: 3, position: 20, prefix: 0, prefixLength: 3 },
];
const all = places.map((_, i) => i);

describe.each(kernelLevels().slice(1))('decode attention, %s', (level) => {
  it.each([
    [{ heads: 14, groups: 2, dim: 64, norms: false }, 'f32'],
    [{ heads: 14, groups: 2, dim: 64, norms: false }, 'bf16'],
    [{ heads: 4, groups: 4, dim: 8, norms: false }, 'f32'],
    [{ heads: 3, groups: 1, dim: 26, norms: true }, 'f32'],
    [{ heads: 4, groups: 2, dim: 128, norms: true }, 'bf16'],
    [{ heads: 6, groups: 2, dim: 32, norms: true }, 'f32'],
  ] as const)('equals libtorch over prefixes and own tokens: %j %s', (shape, dtype) => {
    const fast = attend(level, shape, dtype, places, all);
    const slow = attend('none', shape, dtype, places, all);
    expect(largestDifference(fast.y, slow.y)).toBeLessThan(dtype === 'f32' ? 2e-5 : 0.04);
    expect(largestDifference(fast.own, slow.own)).toBeLessThan(dtype === 'f32' ? 2e-6 : 0.04);
  });

  it('gives a sequence the same bits alone as among others', () => {
    const shape = { heads: 14, groups: 2, dim: 64, norms: false };
    for (const dtype of ['f32', 'bf16'] as const) {
      const together = attend(level, shape, dtype, places, all).y;
      for (const row of all) {
        const alone = attend(level, shape, dtype, places, [row]).y;
        expect(alone).toEqual(together.slice(row * 14 * 64, (row + 1) * 14 * 64));
      }
    }
  });
});

describe('decode attention', () => {
  it.each([
    [{ slot: 6, position: 0, prefix: 0, prefixLength: 0 }, /no slot 6/],
    [{ slot: 0, position: 40, prefix: 0, prefixLength: 0 }, /stands at 40/],
    [{ slot: 0, position: 4, prefix: 3, prefixLength: 2 }, /no prefix 3/],
    [{ slot: 0, position: 80, prefix: 0, prefixLength: 71 }, /prefix of 71/],
    [{ slot: 0, position: 1, prefix: 0, prefixLength: 2 }, /stands at -1/],
  ])('refuses %j', (place, message) => {
    const level = kernelLevels().at(-1)!;
    const shape = { heads: 4, groups: 2, dim: 8, norms: false };
    expect(() => attend(level, shape, 'f32', [place], [0])).toThrow(message);
    useKernels(usual);
  });
});
