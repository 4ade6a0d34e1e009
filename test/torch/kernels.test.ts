import { afterAll, describe, expect, it } from 'vitest';
import { uniformOf } from '../../src/generate/index.ts';
import { PackedCopy } from '../../src/nn/index.ts';
import { AdamW } from '../../src/optim/index.ts';
import {
  backward,
  type DType,
  fromBytes,
  kernelLevel,
  noGrad,
  normalisedRows,
  packed,
  packedLinear,
  sampleKernel,
  scope,
  swigluRows,
  type Tensor,
  tensor,
  useKernels,
} from '../../src/torch/index.ts';
import { Rng } from '../../src/util/rng.ts';
import {
  at,
  expectAllOutputs,
  expectSameRows,
  levels,
  levelsAndDtypes,
  productShapes,
  randn,
} from './levels.ts';
import { assertNoLeaks, largestDifference } from './tiny.ts';

assertNoLeaks();

const usual = kernelLevel();
afterAll(() => useKernels(usual));

/** One unit in the last place of bf16 for values below `size`. */
const ulp = (dtype: DType, size: number) => (dtype === 'bf16' ? 2 ** (Math.ceil(Math.log2(size)) - 8) : 1e-5);

describe.each(levelsAndDtypes)('%s, %s', (level, dtype) => {
  it.each(productShapes)('linear: %i rows, %i to %i', (rows, ins, outs) => {
    scope(() => {
      const x = randn([rows, ins], dtype);
      const weight = randn([outs, ins], dtype).mul(1 / Math.sqrt(ins));
      const bias = randn([outs], dtype);
      const residual = randn([rows, outs], dtype);
      for (const extra of [[], [bias], [bias, residual], [null, residual]] as [
        Tensor | null,
        Tensor | null,
      ][]) {
        const [fast, slow] = [level, 'none'].map((one) =>
          at(one, () => packedLinear(x, packed(weight, dtype), ...extra).toFloat32()),
        ) as [Float32Array, Float32Array];
        const plain = at('none', () => {
          const y = x.linear(weight, extra[0]);
          return (extra[1] ? extra[1].add(y) : y).toFloat32();
        });
        expect(largestDifference(slow, plain)).toBeLessThanOrEqual(2 * ulp(dtype, 8));
        expect(largestDifference(fast, slow)).toBeLessThanOrEqual(2 * ulp(dtype, 8));
      }
    });
  });

  it('linear: a row is the same bits alone, among others, and on any number of threads', () => {
    scope(() => {
      const x = randn([64, 200], dtype);
      expectSameRows(level, x, packed(randn([300, 200], dtype), dtype));
    });
  });

  it('linear: every output is there, whatever the pieces that threads take', () => {
    scope(() => expectAllOutputs(level, dtype));
  });

  it.each([
    [1, 8],
    [5, 33],
    [3, 896],
  ])('normalise and swiglu: %i rows of %i', (rows, width) => {
    scope(() => {
      const x = randn([rows, width], dtype).mul(3);
      const wide = randn([rows, 2 * width], dtype).mul(4);
      for (const compute of [() => normalisedRows(x, 1e-6), () => swigluRows(wide)]) {
        const [fast, slow] = [level, 'none'].map((one) => at(one, () => compute().toFloat32()));
        const size = Math.max(...slow!.map(Math.abs));
        expect(largestDifference(fast!, slow!)).toBeLessThanOrEqual(ulp(dtype, size));
      }
    });
  });

  it('swiglu saturates without a NaN', () => {
    const gates = [-1e4, -200, -89, -88, 88, 1e4];
    const values = at(level, () =>
      swigluRows(
        tensor([...gates, ...gates.map(() => 1)])
          .unsqueeze(0)
          .to(dtype),
      ).toFloat32(),
    );
    expect([...values.slice(0, 4)].every((value) => Math.abs(value) < 1e-30)).toBe(true);
    expect(values[5]! / 1e4).toBeCloseTo(1, 2);
  });

  it.each([0, 0.7, 1])(
    'sampling at temperature %f draws what inverting the distribution draws',
    (temperature) => {
      const [rows, vocabulary] = [200, 5003];
      const rng = new Rng({ seed: 3, purpose: 'test' });
      const uniforms = Float32Array.from({ length: rows }, (_, i) => uniformOf(rng.wordAt(i)));
      scope(() => {
        const logits = randn([rows, vocabulary], dtype).mul(2);
        const drawn = at(level, () => {
          const { ids, logps } = sampleKernel(logits, fromBytes(uniforms, 'f32', [rows]), temperature);
          return { ids: ids.toInt32(), logps: logps.toFloat32() };
        });
        const all = logits.to('f32').toFloat32();
        for (let row = 0; row < rows; row++) {
          const own = Float64Array.from(all.subarray(row * vocabulary, (row + 1) * vocabulary));
          const divisor = temperature || 1;
          const most = own.reduce((a, b) => Math.max(a, b));
          const weights = own.map((logit) => Math.exp((logit - most) / divisor));
          const total = weights.reduce((a, b) => a + b, 0);
          const id = drawn.ids[row]!;
          expect(drawn.logps[row]).toBeCloseTo(Math.log(weights[id]! / total), 5);
          if (temperature === 0) {
            expect(id).toBe(own.indexOf(most));
            continue;
          }
          const before = weights.subarray(0, id).reduce((a, b) => a + b, 0) / total;
          expect(before).toBeLessThan(uniforms[row]! + 1e-6);
          expect(before + weights[id]! / total).toBeGreaterThan(uniforms[row]! - 1e-6);
        }
      });
    },
  );

  it('sampling never draws a token of probability 0', () => {
    scope(() => {
      const row = tensor([-Infinity, 0, -Infinity, 0, -Infinity]).to(dtype).unsqueeze(0);
      for (const u of [uniformOf(0), 0.5, uniformOf(2 ** 31), 1]) {
        const id = at(level, () => sampleKernel(row, tensor([u]), 1).ids.toInt32()[0]!);
        expect(id).toBe(u <= 0.5 ? 1 : 3);
      }
    });
  });
});

describe('a packed copy of a weight', () => {
  it.each(['f32', 'bf16'] as const)('is made anew once the weight was written to, %s', (dtype) => {
    scope(() => {
      using copy = new PackedCopy();
      const weight = randn([5, 6], 'f32').requiresGrad_();
      const x = randn([2, 6], dtype);
      const differs = () =>
        noGrad(() =>
          largestDifference(
            packedLinear(x, copy.of(weight, dtype)).toFloat32(),
            x.linear(weight.to(dtype)).toFloat32(),
          ),
        );
      const before = copy.of(weight, dtype);
      expect(differs()).toBeLessThanOrEqual(ulp(dtype, 8));
      expect(copy.of(weight, dtype)).toBe(before);
      using optimizer = new AdamW([['w', weight]], { betas: [0.9, 0.95], epsilon: 1e-8, weightDecay: 0 });
      backward(weight.mul(weight).sum());
      optimizer.step(0.5);
      expect(differs()).toBeLessThanOrEqual(ulp(dtype, 8));
      noGrad(() => weight.select(0, 3).fill_(7));
      expect(differs()).toBeLessThanOrEqual(ulp(dtype, 64));
    });
  });
});

describe('kernels', () => {
  it('refuse what needs a gradient, another dtype, another shape', () => {
    useKernels(levels.at(-1)!);
    scope(() => {
      const x = randn([2, 4], 'f32').requiresGrad_();
      const matrix = packed(randn([3, 4], 'f32'), 'f32');
      expect(() => packedLinear(x, matrix)).toThrow(/x requires a gradient/);
      expect(() => noGrad(() => packedLinear(x, matrix))).not.toThrow();
      expect(() => packedLinear(randn([2, 4], 'bf16'), matrix)).toThrow(/packed weight must be BFloat16/);
      expect(() => packedLinear(randn([2, 5], 'f32'), matrix)).toThrow(/5 columns, and the weight 4 groups/);
      expect(() => packedLinear(randn([2, 4], 'f32'), matrix, null, null, 65)).toThrow(/no 65 outputs/);
      expect(() => packedLinear(randn([4, 2], 'f32').transpose(0, 1), matrix)).toThrow(/contiguous/);
    });
    useKernels(usual);
  });

  it('are chosen by name', () => {
    expect(() => useKernels('sse9')).toThrow(/this processor has \(portable/);
    expect(kernelLevel()).toBe(usual);
  });
});
