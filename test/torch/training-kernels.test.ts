import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { attendHeads, sightOf } from '../../src/models/attention.ts';
import { RopeTables } from '../../src/models/rope.ts';
import {
  backward,
  type DType,
  folded,
  gatedSilu,
  kernelLevel,
  manualSeed,
  noGrad,
  normalised,
  op,
  rotatedHeads,
  scope,
  setThreads,
  type Tensor,
  tensor,
  threads,
  useKernels,
} from '../../src/torch/index.ts';
import { largest, levels, levelsAndDtypes, randn, withLevel } from './levels.ts';
import { assertNoLeaks, largestDifference } from './tiny.ts';

assertNoLeaks();

const usual = kernelLevel();
afterAll(() => useKernels(usual));
beforeEach(() => manualSeed(11));

const leaf = (shape: readonly number[], dtype: DType) => randn(shape, dtype).requiresGrad_();

type Compute = (...inputs: Tensor[]) => Tensor;

/** A function's values and the gradients of its inputs at a level, for a given gradient of the values. */
function ways(level: string, inputs: readonly Tensor[], compute: Compute, slope: Tensor): Float32Array[] {
  return withLevel(level, () =>
    scope(() => {
      const y = compute(...inputs);
      backward(y, slope.to(y.dtype));
      const gradients = inputs.map((input) => input.grad!.toFloat32());
      for (const input of inputs) input.grad = null;
      return [y.toFloat32(), ...gradients];
    }),
  );
}

/**
 * The kernel's values and gradients against those of its twin in f32 on the same numbers: no further from them than
 * a unit in the last place and what the twin is off in the same dtype.
 */
function compare(level: string, dtype: DType, inputs: readonly Tensor[], compute: Compute): void {
  scope(() => {
    const shape = noGrad(() => compute(...inputs)).shape;
    const slope = randn(shape, dtype);
    const wide = inputs.map((input) => input.detach().to('f32').clone().requiresGrad_());
    const exact = ways('none', wide, compute, slope);
    const slow = ways('none', inputs, compute, slope);
    ways(level, inputs, compute, slope).forEach((values, i) => {
      const size = largest(exact[i]!);
      const ulp = size * (dtype === 'bf16' ? 2 ** -8 : 2e-6);
      expect(values.every(Number.isFinite)).toBe(true);
      expect(largestDifference(values, exact[i]!)).toBeLessThanOrEqual(
        ulp + largestDifference(slow[i]!, exact[i]!),
      );
    });
  });
}

describe.each(levelsAndDtypes)('%s, %s: values and gradients are those of the twin', (level, dtype) => {
  it.each([[[3, 64]], [[2, 5, 70]], [[1, 6]]])('gated SiLU of %j', (shape) => {
    scope(() => compare(level, dtype, [leaf(shape, dtype)], gatedSilu));
  });

  it.each([[[3, 64]], [[2, 5, 37]], [[1, 3]]])('norm of %j', (shape) => {
    scope(() => compare(level, dtype, [leaf(shape, dtype)], (x) => normalised(x!, 1e-6)));
  });

  it.each([
    [[2, 7, 5, 32], 3],
    [[1, 4, 3, 10], 3],
    [[3, 2, 2, 8], 0],
  ] as const)('rotation of %j, %i of the heads', (shape, turned) => {
    using rope = new RopeTables({ headDim: shape[3], ropeTheta: 1e4, ropeScaling: null, maxPositions: 64 });
    const compute: Compute = (x) => rotatedHeads(x!, rope.upTo(shape[1], x!), turned);
    scope(() => compare(level, dtype, [leaf(shape, dtype)], compute));
  });

  it('rotation by the position of every token', () => {
    using rope = new RopeTables({ headDim: 16, ropeTheta: 1e4, ropeScaling: null, maxPositions: 64 });
    scope(() => {
      const positions = tensor([0, 1, 2, 0, 1, 0], { shape: [2, 3], dtype: 'i64' });
      const compute: Compute = (x) => rotatedHeads(x!, rope.at(positions, x!), 2);
      compare(level, dtype, [leaf([2, 3, 4, 16], dtype)], compute);
    });
  });

  it('folding a norm into matrices: the same bits, and their gradients', () => {
    scope(() => {
      const inputs = [leaf([33, 150], 'f32'), leaf([7, 150], 'f32'), leaf([150], 'f32')];
      const compute: Compute = (a, b, norm) => folded([a!, b!], norm!, dtype);
      const slope = randn([40, 150], dtype);
      const [fast, slow] = [level, 'none'].map((one) => ways(one, inputs, compute, slope));
      expect(fast!.slice(0, 3)).toEqual(slow!.slice(0, 3));
      expect(largestDifference(fast![3]!, slow![3]!)).toBeLessThan(1e-5 * largest(slow![3]!));
    });
  });

  it('the gated SiLU saturates without a NaN', () => {
    scope(() => {
      const both = tensor([-1e4, -200, -89, 88, 1e4, 1, 1, 1, 1, 1]).to(dtype).requiresGrad_();
      const [y, gradient] = ways(level, [both], gatedSilu, tensor([1, 1, 1, 1, 1]));
      expect([...y!.slice(0, 2)].every((value) => Math.abs(value) < 1e-30)).toBe(true);
      expect(y![4]).toBeCloseTo(1e4, -2);
      expect(gradient!.every(Number.isFinite)).toBe(true);
      expect(gradient![4]).toBe(1);
    });
  });
});

const plain =
  (groups: number): Compute =>
  (x) =>
    attendHeads(x!, groups, { mask: null, starts: null });
const packed =
  (groups: number, segments: Tensor): Compute =>
  (x) =>
    attendHeads(x!, groups, sightOf(segments, x!, x!.size(-1)));

describe.each(levels)('%s: attention of whole sequences', (level) => {
  it.each([
    [1, 1, 1, 16],
    [7, 4, 2, 16],
    [25, 6, 3, 32],
    [70, 8, 2, 48],
    [144, 14, 2, 64],
    [143, 2, 2, 128],
  ])('%i tokens, %i heads in %i groups of width %i: values and gradients', (t, heads, groups, dim) => {
    scope(() => compare(level, 'bf16', [leaf([2, t, heads + 2 * groups, dim], 'bf16')], plain(groups)));
  });

  it.each([6, 33, 100])('rows of %i tokens in segments: values and gradients', (t) => {
    scope(() => {
      const ids = Array.from({ length: 2 * t }, (_, i) =>
        i < t ? Math.floor(i / 5) : Number(i % t > t / 2),
      );
      const segments = tensor(ids, { shape: [2, t], dtype: 'i64' });
      compare(level, 'bf16', [leaf([2, t, 8, 32], 'bf16')], packed(2, segments));
    });
  });

  it('a segment has the bits that it has alone, and what it cannot see changes nothing', () => {
    scope(() => {
      const [x, slope] = [leaf([1, 60, 6, 32], 'bf16'), randn([1, 60, 128], 'bf16')];
      const segments = tensor(
        Array.from({ length: 60 }, (_, i) => Number(i >= 16)),
        { shape: [1, 60], dtype: 'i64' },
      );
      const [all] = ways(level, [x], packed(1, segments), slope);
      const second = x.detach().narrow(1, 16, 44).clone().requiresGrad_();
      const [alone] = ways(level, [second], plain(1), slope.narrow(1, 16, 44));
      expect(all!.slice(16 * 128)).toEqual(alone);
    });
  });

  it('is the same on any number of threads', () => {
    scope(() => {
      const [x, slope] = [leaf([3, 90, 8, 32], 'bf16'), randn([3, 90, 128], 'bf16')];
      const before = threads();
      const results = [1, 2, 3].map((count) => {
        setThreads(count);
        return ways(level, [x], plain(2), slope);
      });
      setThreads(before);
      for (const result of results) expect(result).toEqual(results[0]);
    });
  });
});

it('says what is wrong with what the attention is given', () => {
  const attention = op('reckon::causal_attention');
  scope(() => {
    const heads = (width: number) => randn([1, 4, 4, width], 'bf16');
    expect(() => attention(heads(8), 1)).toThrow(/multiple of 16/);
    expect(() => attention(heads(16).to('f32'), 1)).toThrow(/bf16/);
    expect(() => attention(heads(16), 3)).toThrow(/heads/);
    const starts = op('aten::to', 'dtype')(
      tensor([0, 2, 0, 0], { shape: [1, 4], dtype: 'i32' }),
      3,
    ) as Tensor;
    expect(() => attention(heads(16), 1, starts)).toThrow(/cannot see/);
  });
});
