import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import {
  backward,
  dequantised,
  kernelLevel,
  liveTensors,
  manualSeed,
  packed,
  packedLinear,
  product,
  quantised,
  scope,
  type Tensor,
  tensor,
  useKernels,
} from '../../src/torch/index.ts';
import { at, expectSameRows, levels, levelsAndDtypes, productShapes, randn } from './levels.ts';
import { assertNoLeaks, largestDifference } from './tiny.ts';

assertNoLeaks();

const usual = kernelLevel();
afterAll(() => useKernels(usual));
beforeEach(() => manualSeed(7));

describe('rounding to 8 bit', () => {
  it('is the nearest of 255 numbers a row, ties to even, by the arithmetic of f64', () => {
    scope(() => {
      const weight = randn([37, 83], 'f32');
      const numbers = weight.toFloat64();
      const { values, scales } = quantised(weight);
      const [q, s] = [values.toFloat64(), scales.toFloat64()];
      for (let row = 0; row < 37; row++) {
        const own = [...numbers.slice(row * 83, (row + 1) * 83)];
        const scale = Math.fround(Math.max(...own.map(Math.abs)) / 127);
        expect(s[row]).toBe(scale);
        own.forEach((number, i) => {
          const found = q[row * 83 + i]!;
          expect(Number.isInteger(found) && Math.abs(found) <= 127).toBe(true);
          // Half a step, and the rounding of the quotient to f32.
          expect(Math.abs(number / scale - found)).toBeLessThanOrEqual(0.5 + 127 * 2 ** -24);
        });
      }
      const back = dequantised({ values, scales }).toFloat64();
      back.forEach((number, i) => {
        const scale = s[Math.floor(i / 83)]!;
        expect(Math.abs(number - numbers[i]!)).toBeLessThanOrEqual(0.5001 * scale);
      });
    });
  });

  it('ties go to the even number; the largest is 127; zeros stay zeros', () => {
    scope(() => {
      const weight = tensor(
        [
          [127, 0.5, 1.5, 2.5, -0.5, -1.5],
          [0, 0, 0, 0, 0, 0],
          [1e-44, -1e-44, 0, 0, 0, 0],
        ].flat(),
        { shape: [3, 6] },
      );
      for (const level of ['none', ...levels]) {
        const { values, scales } = at(level, () => {
          const matrix = quantised(weight);
          return { values: [...matrix.values.toFloat32()], scales: [...matrix.scales.toFloat32()] };
        });
        expect(values.slice(0, 6)).toEqual([127, 0, 2, 2, -0, -2].map((one) => one + 0));
        expect(values.slice(6).every((one) => one === 0)).toBe(true);
        expect(scales).toEqual([1, 1, 1]);
      }
    });
  });

  it.each(levelsAndDtypes)('%s, %s: the same bits as its slow twin', (level, dtype) => {
    scope(() => {
      for (const [outs, ins] of [
        [1, 1],
        [5, 33],
        [64, 200],
      ] as const) {
        const weight = randn([outs, ins], dtype).mul(0.03);
        const [fast, slow] = [level, 'none'].map((one) =>
          at(one, () => {
            const { values, scales } = quantised(weight);
            return [values.toFloat32(), scales.toFloat32()];
          }),
        );
        expect(fast).toEqual(slow);
      }
    });
  });

  it('refuses weights that are not finite, and leaves nothing behind', () => {
    for (const level of ['none', ...levels])
      for (const fault of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
        const before = liveTensors();
        const run = () => at(level, () => quantised(tensor([1, 2, 3, fault, 5, 6], { shape: [2, 3] })));
        expect(run).toThrow(expect.objectContaining({ code: 'weights-not-finite' }));
        expect(liveTensors()).toBe(before);
      }
  });
});

describe.each(levelsAndDtypes)('products, %s, %s', (level, dtype) => {
  it.each(productShapes)('%i rows, %i to %i: the slow twin, and f64', (rows, ins, outs) => {
    scope(() => {
      const x = randn([rows, ins], dtype);
      const matrix = quantised(randn([outs, ins], dtype).mul(1 / Math.sqrt(ins)));
      const bias = randn([outs], dtype);
      const residual = randn([rows, outs], dtype);
      const exact = x.to('f64').linear(matrix.values.to('f64').mul(matrix.scales.unsqueeze(1)));
      for (const extra of [[], [bias], [bias, residual], [null, residual]] as [
        Tensor | null,
        Tensor | null,
      ][]) {
        const fast = at(level, () => packedLinear(x, packed(matrix, dtype), ...extra).toFloat32());
        const slow = at('none', () => packedLinear(x, packed(matrix, dtype), ...extra).toFloat32());
        const many = at(level, () => product(x, matrix, extra[0]).toFloat32());
        const [b = null, r = null] = extra;
        const biased = b ? exact.add(b) : exact;
        const whole = r ? biased.add(r) : biased;
        // A rounding to bf16 moves a number by at most 2^-8 of it; the kernel has one or two of them, the twin up to three.
        const size = Math.max(...[exact, biased, whole].flatMap((y) => [...y.toFloat64().map(Math.abs)]));
        const half = dtype === 'bf16' ? size * 2 ** -8 : 5e-6;
        expect(largestDifference(fast, whole.toFloat64())).toBeLessThanOrEqual(2 * half);
        expect(largestDifference(fast, slow)).toBeLessThanOrEqual(4 * half);
        expect(largestDifference(many, biased.toFloat64())).toBeLessThanOrEqual(2 * half);
      }
    });
  });

  it('a row is the same bits alone, among others, and on any number of threads', () => {
    scope(() => {
      const x = randn([64, 200], dtype);
      expectSameRows(level, x, packed(quantised(randn([300, 200], dtype)), dtype));
    });
  });
});

describe('the gradient of a product with a frozen matrix in 8 bit', () => {
  // 3,000 x 1,000 is more than one block of the weight, both ways.
  it.each([
    [usual, 3, 7, 5],
    [usual, 2, 1000, 3000],
    ['none', 3, 7, 5],
  ])('%s: of x [%i, %i] to %i is that of the dequantised matrix', (level, rows, ins, outs) => {
    useKernels(level);
    scope(() => {
      const matrix = quantised(randn([outs, ins], 'f32').mul(1 / Math.sqrt(ins)));
      const bias = randn([outs], 'f32');
      const upstream = randn([rows, 2, outs], 'f32').mul(1 / Math.sqrt(outs));
      const run = (product: (x: Tensor) => Tensor) => {
        const x = start.detach().clone().requiresGrad_();
        const y = product(x);
        backward(y.mul(upstream).sum());
        return { y: y.detach().toFloat32(), gradient: x.grad!.toFloat32() };
      };
      const start = randn([rows, 2, ins], 'f32');
      const own = run((x) => product(x, matrix, bias));
      const plain = run((x) => x.linear(dequantised(matrix), bias));
      expect(largestDifference(own.y, plain.y)).toBeLessThanOrEqual(1e-5);
      expect(largestDifference(own.gradient, plain.gradient)).toBeLessThanOrEqual(1e-5);
      expect(own.gradient.some((one) => one !== 0)).toBe(true);
    });
    useKernels(usual);
  });

  it('a bias that is trained is refused, and so is a gradient through the kernel for decoding', () => {
    scope(() => {
      const matrix = quantised(randn([4, 3], 'f32'));
      const bias = randn([4], 'f32').requiresGrad_();
      const x = randn([2, 3], 'f32').requiresGrad_();
      expect(() => product(x, matrix, bias)).toThrow(/frozen/);
      if (levels.length > 0)
        expect(() => packedLinear(x, packed(matrix, 'f32'))).toThrow(/gives? none|give none/);
    });
  });
});
