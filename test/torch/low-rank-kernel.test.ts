import { afterAll, beforeEach, describe, expect, it } from 'vitest';
import { Linear, LowRank, NormedProjection, RMSNorm } from '../../src/nn/index.ts';
import {
  addUpdateRows,
  backward,
  type DType,
  full,
  kernelLevel,
  manualSeed,
  op,
  quantised,
  scope,
  setThreads,
  type Tensor,
  threads,
  useKernels,
} from '../../src/torch/index.ts';
import { at, largest, levelsAndDtypes, randn, sameBits, withLevel } from './levels.ts';
import { assertNoLeaks, largestDifference } from './tiny.ts';

assertNoLeaks();

const usual = kernelLevel();
afterAll(() => useKernels(usual));
beforeEach(() => manualSeed(13));

interface Shape {
  readonly rows: number;
  readonly ins: number;
  readonly outs: number;
  readonly rank: number;
  readonly bias?: boolean;
  readonly int8?: boolean;
  /** The layer reads the gated SiLU of an input twice as wide. */
  readonly gated?: boolean;
}

/** A linear layer with an update in use; f32 copies of the same numbers for `exact`. */
function layerOf({ ins, outs, rank, bias = false, int8 = false }: Shape, dtype: DType) {
  const weight = randn([outs, ins], dtype).mul(1 / Math.sqrt(ins));
  const offsets = randn([outs], dtype);
  const [a, b] = [randn([rank, ins], 'f32').mul(1 / Math.sqrt(ins)), randn([outs, rank], 'f32')];
  return (as: DType): { layer: Linear; parts: Tensor[] } => {
    const state = new Map([['l.weight', weight.to(as)]]);
    if (int8) {
      const { values, scales } = quantised(weight);
      state.set('l.weight', values).set('l.weight_scale', scales);
    }
    if (bias) state.set('l.bias', offsets.to(as).clone());
    const layer = new Linear(state, 'l', { in: ins, out: outs, bias });
    const parts = [a, b].map((part) => part.clone().requiresGrad_());
    const update = new LowRank({ a: parts[0]!, b: parts[1]!, magnitude: null, scale: 1.5, dropout: 0 });
    layer.attach('x', { lowRank: update, replaced: new Map() });
    layer.use('x');
    return { layer, parts };
  };
}

/** Values and the gradients of the input and of both factors, at a level. */
function ways(
  level: string,
  made: { layer: Linear; parts: Tensor[] },
  x: Tensor,
  slope: Tensor,
  gated = false,
): Float32Array[] {
  return withLevel(level, () =>
    scope(() => {
      const y = gated ? made.layer.forwardGated(x) : made.layer.forward(x);
      backward(y, slope.to(y.dtype));
      const gradients = [x, ...made.parts].map((one) => one.grad!.toFloat32());
      for (const one of [x, ...made.parts]) one.grad = null;
      return [y.toFloat32(), ...gradients];
    }),
  );
}

describe.each(levelsAndDtypes)('%s, %s', (level, dtype) => {
  it.each<Shape>([
    { rows: 1, ins: 5, outs: 3, rank: 1 },
    { rows: 7, ins: 40, outs: 33, rank: 3, bias: true },
    { rows: 70, ins: 130, outs: 200, rank: 8 },
    { rows: 33, ins: 64, outs: 96, rank: 17, bias: true },
    { rows: 20, ins: 48, outs: 64, rank: 16, int8: true, bias: true },
    { rows: 37, ins: 72, outs: 40, rank: 8, gated: true },
    { rows: 9, ins: 64, outs: 33, rank: 4, int8: true, bias: true, gated: true },
  ])('is no further from f32 than its twin: %o', (shape) => {
    scope(() => {
      const make = layerOf(shape, dtype);
      const x = randn([1, shape.rows, shape.ins * (shape.gated ? 2 : 1)], dtype).requiresGrad_();
      const wide = x.detach().to('f32').clone().requiresGrad_();
      const slope = randn([1, shape.rows, shape.outs], dtype);
      const [own, exactly] = [make(dtype), make('f32')];
      const exact = ways('none', exactly, wide, slope, shape.gated);
      const slow = ways('none', own, x, slope, shape.gated);
      ways(level, own, x, slope, shape.gated).forEach((values, i) => {
        const ulp = largest(exact[i]!) * (dtype === 'bf16' && i < 2 ? 2 ** -8 : 4e-6);
        const allowed = ulp + largestDifference(slow[i]!, exact[i]!);
        expect(largestDifference(values, exact[i]!)).toBeLessThanOrEqual(allowed);
      });
      for (const { layer } of [own, exactly]) layer[Symbol.dispose]();
    });
  });

  it('is the same on any number of threads, and for a gradient that lies in wider rows', () => {
    scope(() => {
      const own = layerOf({ rows: 0, ins: 150, outs: 300, rank: 16 }, dtype)(dtype);
      const x = randn([200, 150], dtype).requiresGrad_();
      const slope = randn([200, 400], dtype).narrow(1, 50, 300);
      const before = threads();
      const results = [1, 2, 3].map((count) => {
        setThreads(count);
        return ways(level, own, x, slope);
      });
      setThreads(before);
      results.push(ways(level, own, x, slope.contiguous()));
      for (const result of results) expect(result).toEqual(results[0]);
      own.layer[Symbol.dispose]();
    });
  });
});

it.each(levelsAndDtypes)(
  '%s, %s: an updated row has its bits alone, and among any others',
  (level, dtype) => {
    at(level, () =>
      scope(() => {
        const [a, b] = [randn([20, 150], 'f32'), randn([20, 70], 'f32')];
        const [x, y] = [randn([37, 150], dtype), randn([37, 70], dtype)];
        const updated = (first: number) => {
          const [some, into] = [x, y].map((rows) => rows.narrow(0, first, 37 - first).clone());
          return addUpdateRows(some!, a, b, 1.5, into!).toFloat32();
        };
        const whole = updated(0);
        for (const first of [36, 35, 32, 21, 20, 4])
          expect(sameBits(updated(first), whole.subarray(first * 70))).toBe(true);
        const wide = (one: Tensor) => one.to('f32');
        const exact = wide(y)
          .add(wide(x).linear(a).mul(1.5).linear(b.transpose(0, 1)))
          .toFloat32();
        const ulp = largest(exact) * (dtype === 'bf16' ? 2 ** -8 : 4e-6);
        expect(largestDifference(whole, exact)).toBeLessThan(ulp);
      }),
    );
  },
);

it('layers that share a normed input give it the sum of their gradients', () => {
  scope(() => {
    const shape = { rows: 0, ins: 64, outs: 48, rank: 4 };
    const made = [layerOf(shape, 'f32')('f32'), layerOf({ ...shape, outs: 32 }, 'f32')('f32')];
    using norm = new RMSNorm(new Map([['n.weight', full([64], 1.5)]]), 'n', 64, 1e-6);
    const joined = new NormedProjection(
      norm,
      made.map(({ layer }) => layer),
    );
    const x = randn([3, 5, 64], 'f32').requiresGrad_();
    const slope = randn([3, 5, 80], 'f32');
    const [fast, slow] = [usual, 'none'].map((level) => {
      useKernels(level);
      return scope(() => {
        backward(joined.forward(x), slope);
        const gradient = x.grad!.toFloat32();
        x.grad = null;
        for (const { parts } of made) for (const part of parts) part.grad = null;
        return gradient;
      });
    });
    useKernels(usual);
    expect(largestDifference(fast!, slow!)).toBeLessThan(4e-6 * largest(slow!));
    joined[Symbol.dispose]();
    for (const { layer } of made) layer[Symbol.dispose]();
  });
});

it('refuses a weight that is to be learned', () => {
  scope(() => {
    const [x, weight] = [randn([2, 8], 'f32'), randn([4, 8], 'f32').requiresGrad_()];
    const call = () =>
      op('reckon::low_rank_linear')(
        x,
        weight,
        null,
        null,
        randn([2, 8], 'f32'),
        randn([4, 2], 'f32'),
        1,
        false,
      );
    expect(call).toThrow(/frozen/);
  });
});
