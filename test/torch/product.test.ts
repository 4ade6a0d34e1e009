/** The product of whole sequences: its values and gradients by each level, and that a row's bits are those of a decoding step. */

import { beforeEach, describe, expect, it } from 'vitest';
import {
  backward,
  type DType,
  manualSeed,
  noGrad,
  packed,
  packedLinear,
  product,
  productInto,
  quantised,
  scope,
  setThreads,
  type Tensor,
  threads,
  zeros,
} from '../../src/torch/index.ts';
import { at, largest, levelsAndDtypes, pairLevels, randn, sameBits, withLevel } from './levels.ts';
import { assertNoLeaks, largestDifference } from './tiny.ts';

assertNoLeaks();
beforeEach(() => manualSeed(17));

interface Inputs {
  readonly x: Tensor;
  readonly weight: Tensor;
  readonly bias: Tensor | null;
}

function inputsOf(
  [rows, ins, outs]: readonly [number, number, number],
  dtype: DType,
  biased: boolean,
): Inputs {
  return noGrad(() => ({
    x: randn([rows, ins], dtype).requiresGrad_(),
    weight: randn([outs, ins], dtype)
      .mul(1 / Math.sqrt(ins))
      .requiresGrad_(),
    bias: biased ? randn([outs], dtype).requiresGrad_() : null,
  }));
}

/** Values, and the gradients of x, the weight and the bias, for a given gradient of the values. */
function ways(level: string, { x, weight, bias }: Inputs, slope: Tensor): Float32Array[] {
  return withLevel(level, () =>
    scope(() => {
      const y = product(x, weight, bias);
      backward(y, slope.to(y.dtype));
      const leaves = [x, weight, ...(bias ? [bias] : [])];
      const gradients = leaves.map((leaf) => leaf.grad!.toFloat32());
      for (const leaf of leaves) leaf.grad = null;
      return [y.toFloat32(), ...gradients];
    }),
  );
}

/** Whether a level leaves products of whole sequences to the library: in f32 it depends on the processor, and bits tell. */
const isLibrarys = (level: string, dtype: DType): boolean => {
  if (dtype === 'bf16') return !pairLevels.includes(level);
  const [x, weight] = noGrad(() => [randn([100, 200], dtype), randn([300, 200], dtype)]);
  const [own, theirs] = [level, 'none'].map((one) => at(one, () => product(x!, weight!).toFloat32()));
  return sameBits(own!, theirs!);
};

/** Blocks that are not full, odd numbers of inputs and outputs, several lots of rows, stretches, and rows shared by threads. */
const shapes = [
  [1, 5, 3],
  [3, 64, 64],
  [65, 33, 70],
  [130, 200, 129],
  [600, 96, 40],
  [70, 896, 130],
] as const;

describe.each(levelsAndDtypes)('%s, %s', (level, dtype) => {
  it.each(shapes)('%i rows, %i to %i: values and gradients are those of the twin', (...shape) => {
    scope(() => {
      for (const biased of [false, true]) {
        const own = inputsOf(shape, dtype, biased);
        const wide = noGrad(() => (one: Tensor) => one.detach().to('f32').clone().requiresGrad_());
        const exactly = { x: wide(own.x), weight: wide(own.weight), bias: own.bias && wide(own.bias) };
        const slope = randn([shape[0], shape[2]], dtype);
        const exact = ways('none', exactly, slope);
        const slow = ways('none', own, slope);
        ways(level, own, slope).forEach((values, i) => {
          const ulp = largest(exact[i]!) * (dtype === 'bf16' ? 2 ** -8 : 2e-6);
          const allowed = ulp + largestDifference(slow[i]!, exact[i]!);
          expect(largestDifference(values, exact[i]!)).toBeLessThanOrEqual(allowed);
        });
      }
    });
  });

  it('is the same on any number of threads, and of tensors that lie apart', () => {
    scope(() => {
      const { x, weight, bias } = inputsOf([600, 150, 300], dtype, true);
      const slope = randn([600, 400], dtype).narrow(1, 50, 300);
      const before = threads();
      const results = (isLibrarys(level, dtype) ? [before] : [1, 2, 3]).map((count) => {
        setThreads(count);
        return ways(level, { x, weight, bias }, slope.contiguous());
      });
      setThreads(before);
      results.push(ways(level, { x, weight, bias }, slope));
      for (const result of results)
        expect(result.map((values, i) => sameBits(values, results[0]![i]!))).toEqual([
          true,
          true,
          true,
          true,
        ]);
      const apart = (one: Tensor) => one.detach().transpose(0, 1).contiguous().transpose(0, 1);
      const scattered = at(level, () => product(apart(x), apart(weight), bias).toFloat32());
      expect(sameBits(scattered, results[0]![0]!)).toBe(true);
    });
  });

  it('gives a frozen matrix no gradient, and its input one', () => {
    scope(() => {
      const { x, weight } = inputsOf([70, 96, 130], dtype, false);
      const slope = randn([70, 130], dtype);
      const whole = ways(level, { x, weight, bias: null }, slope);
      withLevel(level, () => {
        const frozen = weight.detach();
        backward(product(x, frozen), slope);
        expect(sameBits(x.grad!.toFloat32(), whole[1]!)).toBe(true);
        x.grad = null;
        backward(product(x.detach(), weight), slope);
        expect(sameBits(weight.grad!.toFloat32(), whole[2]!)).toBe(true);
        expect([frozen.grad, x.grad]).toEqual([null, null]);
        weight.grad = null;
      });
    });
  });

  it('writes into a given place, and says where it does not fit', () => {
    at(level, () => {
      const [x, weight] = [randn([9, 40], dtype), randn([70, 40], dtype)];
      const room = zeros([12, 70], dtype);
      productInto(room.narrow(0, 0, 9), x, weight);
      expect(room.narrow(0, 0, 9).toFloat32()).toEqual(product(x, weight).toFloat32());
      expect(largest(room.narrow(0, 9, 3).toFloat32())).toBe(0);
      expect(() => productInto(room, x, weight)).toThrow(/room for \[9, 70\]/);
      expect(() => product(x, randn([70, 41], dtype))).toThrow(/40 columns/);
      const other = dtype === 'f32' ? 'bf16' : 'f32';
      expect(() => product(x, weight, randn([70], other))).toThrow(/dtype|must be|same/i);
      expect(() => product(x, weight, randn([71], dtype))).toThrow(/70/);
    });
  });
});

describe.each(pairLevels)('%s', (level) => {
  it.each(['f32', 'bf16'] as const)('a row has the bits of a decoding step, in %s and in 8 bit', (dtype) => {
    at(level, () => {
      const x = randn([150, 333], dtype);
      const bias = randn([200], dtype);
      const full = randn([200, 333], dtype);
      for (const weight of [full, quantised(full)]) {
        const matrix = packed(weight, dtype);
        const whole = product(x, weight, bias).toFloat32();
        for (const [first, count] of [
          [0, 1],
          [17, 6],
          [64, 64],
          [0, 150],
        ] as const) {
          const step = packedLinear(x.narrow(0, first, count), matrix, bias).toFloat32();
          expect(sameBits(step, whole.subarray(first * 200, (first + count) * 200))).toBe(true);
          const some = product(x.narrow(0, first, count), weight, bias).toFloat32();
          expect(sameBits(some, step)).toBe(true);
        }
      }
    });
  });
});
