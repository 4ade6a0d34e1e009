/** Draws from what top-k, top-p, min-p, penalty, bias and bans leave: the kernel against the sorted definition. */

import { afterAll, describe, expect, it, vi } from 'vitest';
import { type SamplingParameters, sampleTokens, uniformOf } from '../../src/generate/index.ts';
import { native } from '../../src/torch/addon.ts';
import {
  drawKernel,
  fromBytes,
  ids,
  kernelLevel,
  kernelLevels,
  scope,
  useKernels,
} from '../../src/torch/index.ts';
import { Rng } from '../../src/util/rng.ts';
import { assertNoLeaks, largestDifference } from './tiny.ts';

assertNoLeaks();

const usual = kernelLevel();
afterAll(() => useKernels(usual));
const levels = kernelLevels().slice(1);
const best = levels.at(-1)!;

type Filters = Pick<SamplingParameters, 'temperature' | 'topP' | 'topK' | 'minP'>;

/** Numbers that look normal, the same for the same name. */
function noise(name: string, count: number, spread: number): number[] {
  const rng = new Rng({ seed: 11, purpose: 'test', id: name });
  const uniform = (i: number) => uniformOf(rng.wordAt(i));
  return Array.from({ length: count }, (_, i) =>
    Math.fround(
      spread * Math.sqrt(-2 * Math.log(uniform(2 * i))) * Math.cos(2 * Math.PI * uniform(2 * i + 1)),
    ),
  );
}

const rows: Readonly<Record<string, readonly number[]>> = {
  normal: noise('a', 3001, 2),
  flat: noise('b', 3001, 0.01),
  peaked: noise('c', 3001, 20),
  'all equal': new Array<number>(97).fill(1.25),
  'one finite': Array.from({ length: 61 }, (_, i) => (i === 40 ? -3 : Number.NEGATIVE_INFINITY)),
  'one id': [0.5],
  'ties everywhere': Array.from({ length: 1000 }, (_, i) => [0, 1, 2, -0, 3][i % 5]!),
  'half is banned': noise('d', 600, 3).map((x, i) => (i % 2 === 0 ? x : Number.NEGATIVE_INFINITY)),
  'huge and tiny': Array.from({ length: 300 }, (_, i) => (i % 3 === 0 ? 1e4 : i % 3 === 1 ? -1e4 : 1e-30)),
  'close together': Array.from({ length: 513 }, (_, i) => Math.fround(5 + i * 2 ** -21)),
};

const filters: readonly Filters[] = [
  { temperature: 1, topP: 1, topK: 5 },
  { temperature: 1, topP: 1, topK: 1 },
  { temperature: 1, topP: 1, topK: 100_000 },
  { temperature: 1, topP: 0.9 },
  { temperature: 0.7, topP: 0.5 },
  { temperature: 1.5, topP: 0.05 },
  { temperature: 1, topP: 0.999_99 },
  { temperature: 1, topP: 1, minP: 0.1 },
  { temperature: 1, topP: 1, minP: 1 },
  { temperature: 0.6, topP: 0.95, topK: 20 },
  { temperature: 1, topP: 0.8, topK: 50, minP: 0.2 },
];

/** The definition, sorted and in f64: ids from the likeliest on, how many are kept, and how near a bound was. */
function definition(logits: readonly number[], { temperature, topP, topK = 0, minP = 0 }: Filters) {
  const scores = logits.map((x) => Math.fround(x / Math.fround(temperature)));
  const order = scores.map((_, i) => i).sort((a, b) => scores[b]! - scores[a]! || a - b);
  const weights = scores.map((x) => Math.exp(x - scores[order[0]!]!));
  let kept = scores.filter((x) => x > Number.NEGATIVE_INFINITY).length;
  if (topK > 0 && topK < kept) kept = order.filter((id) => scores[id]! >= scores[order[topK - 1]!]!).length;
  let margin = 1;
  const inside = (bound: number, value: number, total: number) => {
    margin = Math.min(margin, Math.abs(bound - value) / total);
    return value < bound;
  };
  if (topP < 1) {
    const total = order.slice(0, kept).reduce((sum, id) => sum + weights[id]!, 0);
    let [count, before] = [0, 0];
    while (count < kept && (count === 0 || inside(topP * total, before, total)))
      before += weights[order[count++]!]!;
    kept = count;
  }
  if (minP > 0) kept = order.slice(0, kept).filter((id) => !inside(minP, weights[id]!, 1)).length;
  return { order, kept, weights, margin };
}

function draw(level: string, logits: readonly number[], uniforms: readonly number[], by: Filters) {
  useKernels(level);
  const drawn = scope(() => {
    const flat = Float32Array.from(uniforms.flatMap(() => logits));
    const result = drawKernel(
      fromBytes(flat, 'f32', [uniforms.length, logits.length]),
      fromBytes(Float32Array.from(uniforms), 'f32', [uniforms.length]),
      {
        temperature: by.temperature,
        topK: by.topK ?? 0,
        topP: by.topP,
        minP: by.minP ?? 0,
        repetitionPenalty: 1,
        seen: null,
        bias: null,
        banned: null,
        alternatives: -1,
      },
    );
    return { counts: result.counts.toInt32(), values: result.values.toFloat32() };
  });
  useKernels(usual);
  return drawn;
}

describe.each(levels)('%s', (level) => {
  it.each(Object.entries(rows))('keeps and draws what the sorted definition does: %s', (_, logits) => {
    const uniforms = [uniformOf(0), 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1];
    for (const by of filters) {
      const { order, kept, weights, margin } = definition(logits, by);
      const { counts, values } = draw(level, logits, uniforms, by);
      const near = margin < 1e-6;
      // A bound that is met exactly, or within f32's rounding of a weight, may fall to either side.
      if (near) expect(Math.abs(counts[uniforms.length]! - kept)).toBeLessThanOrEqual(0.002 * kept + 1);
      else expect(counts[uniforms.length]).toBe(kept);
      const set = order.slice(0, counts[uniforms.length]).sort((a, b) => a - b);
      const total = set.reduce((sum, id) => sum + weights[id]!, 0);
      uniforms.forEach((u, row) => {
        const id = counts[row]!;
        expect(set).toContain(id);
        const before = set.filter((other) => other < id).reduce((sum, other) => sum + weights[other]!, 0);
        expect(before / total).toBeLessThan(u + 2e-6);
        expect((before + weights[id]!) / total).toBeGreaterThan(u - 2e-6);
        expect(values[uniforms.length + row]).toBeCloseTo(Math.log(weights[id]! / total), 4);
      });
    }
  });
});

it('few cases lie on a bound, so that the comparison is one', () => {
  const margins = Object.values(rows).flatMap((logits) => filters.map((by) => definition(logits, by).margin));
  expect(margins.filter((margin) => margin < 1e-6).length).toBeLessThan(margins.length * 0.2);
});

/** Everything at once, by the kernels of a level or by libtorch's operators. */
function sampled(level: string, parameters: SamplingParameters, count = 400) {
  useKernels(level);
  try {
    return scope(() => {
      const vocabulary = 257;
      const rng = new Rng({ seed: 4, purpose: 'test' });
      const logits = Float32Array.from(noise('all', count * vocabulary, 2));
      return sampleTokens(
        fromBytes(logits, 'f32', [count, vocabulary]),
        Float32Array.from({ length: count }, (_, i) => uniformOf(rng.wordAt(i))),
        parameters,
        {
          seen_NS: ids(
            Array.from({ length: count * 4 }, (_, i) => [7, 100 + (i % 50), 256, 7][i % 4]!),
            [count, 4],
          ),
          early: { rows: Array.from({ length: count }, (_, i) => i % 3 === 0), ids: [0, 8] },
          alternatives: 5,
        },
      );
    });
  } finally {
    useKernels(usual);
  }
}

describe.each(levels)('%s against its slow twin', (level) => {
  it.each<SamplingParameters>([
    { temperature: 1, topP: 1 },
    { temperature: 0, topP: 1, repetitionPenalty: 1.3 },
    { temperature: 0.8, topP: 0.9, topK: 40, minP: 0.01, repetitionPenalty: 1.2 },
    {
      temperature: 1.3,
      topP: 1,
      repetitionPenalty: 0.7,
      logitBias: new Map([
        [3, Number.NEGATIVE_INFINITY],
        [7, 2],
        [256, -1.5],
      ]),
    },
  ])('samples the same with %j', (parameters) => {
    const fast = sampled(level, parameters);
    const slow = sampled('none', parameters);
    // f32 sums in another order may draw a neighbour where a uniform number lies on a bound.
    const same = [...fast.ids].map((id, i) => id === slow.ids[i]);
    expect(same.filter((one) => !one).length).toBeLessThanOrEqual(1);
    const pick = (values: Float32Array) => values.filter((_, i) => same[i]);
    expect(largestDifference(pick(fast.logps), pick(slow.logps))).toBeLessThan(1e-5);
    expect(largestDifference(pick(fast.samplingLogps), pick(slow.samplingLogps))).toBeLessThan(2e-5);
    const [a, b] = [fast.statistics!, slow.statistics!];
    expect(largestDifference(pick(a.plainLogps), pick(b.plainLogps))).toBeLessThan(1e-5);
    expect(largestDifference(a.entropies, b.entropies)).toBeLessThan(1e-5);
    expect(a.likeliest).toEqual(b.likeliest);
    expect(largestDifference(a.likeliestLogps, b.likeliestLogps)).toBeLessThan(1e-5);
    for (const [i, id] of fast.ids.entries()) {
      if (i % 3 === 0) expect([0, 8]).not.toContain(id);
      expect(parameters.logitBias?.get(id)).not.toBe(Number.NEGATIVE_INFINITY);
    }
  });
});

it('draws by the kept distribution: chi-squared with top-k, top-p, min-p and penalty', () => {
  const logits = [2, 1, 0.5, 0, -1, -3, 0.2, 1.5];
  const by = { temperature: 0.9, topP: 0.95, topK: 6, minP: 0.05 };
  const { order, kept, weights } = definition(logits, by);
  const n = 40_000;
  const rng = new Rng({ seed: 1, purpose: 'test' });
  const uniforms = Array.from({ length: n }, (_, i) => uniformOf(rng.wordAt(i)));
  const { counts } = draw(best, logits, uniforms, by);
  const set = order.slice(0, kept);
  const total = set.reduce((sum, id) => sum + weights[id]!, 0);
  const chi = set.reduce((sum, id) => {
    const expected = (n * weights[id]!) / total;
    return sum + (counts.subarray(0, n).filter((one) => one === id).length - expected) ** 2 / expected;
  }, 0);
  expect(kept).toBeGreaterThan(3);
  expect(chi).toBeLessThan(20.5); // 5 degrees of freedom, 1 in 1,000
});

it('lists the likeliest in descending order, of equals the lower ids', () => {
  for (const level of ['none', ...levels]) {
    useKernels(level);
    const { statistics } = scope(() =>
      sampleTokens(
        fromBytes(Float32Array.from([1, 3, -Infinity, 3, 2, 1, 1]), 'f32', [1, 7]),
        Float32Array.from([0.5]),
        { temperature: 1, topP: 1 },
        { alternatives: 7 },
      ),
    );
    useKernels(usual);
    expect([...statistics!.likeliest]).toEqual([1, 3, 4, 0, 5, 6, 2]);
    expect(statistics!.likeliestLogps[6]).toBe(Number.NEGATIVE_INFINITY);
  }
});

it('refuses a row without a finite logit, plain or filtered, instead of drawing from it', () => {
  for (const level of ['none', ...levels]) {
    useKernels(level);
    for (const value of [Number.NaN, Number.NEGATIVE_INFINITY])
      for (const topP of [1, 0.9])
        expect(() =>
          scope(() =>
            sampleTokens(
              fromBytes(new Float32Array(40).fill(value), 'f32', [1, 40]),
              Float32Array.from([0.5]),
              {
                temperature: 1,
                topP,
              },
            ),
          ),
        ).toThrow(/expected a finite logit/);
    useKernels(usual);
  }
});

it('reads once a draw where libtorch draws: a read waits for the device', () => {
  const reads = vi.spyOn(native, 'toBytes');
  sampled('none', { temperature: 0.8, topP: 0.9, topK: 40, minP: 0.01, repetitionPenalty: 1.2 }, 20);
  expect(reads).toHaveBeenCalledTimes(1);
  reads.mockRestore();
});

it('checks the ids that it is given', () => {
  scope(() => {
    const logits = fromBytes(new Float32Array(4), 'f32', [1, 4]);
    const u = fromBytes(Float32Array.from([0.5]), 'f32', [1]);
    const plain = { temperature: 1, topK: 0, topP: 1, minP: 0, repetitionPenalty: 2 };
    const seen = fromBytes(Int32Array.from([4]), 'i32', [1, 1]);
    const job = { ...plain, seen, bias: null, banned: null, alternatives: -1 };
    expect(() => drawKernel(logits, u, job)).toThrow(/holds the id 4, and the vocabulary has 4/);
    expect(() => drawKernel(logits, u, { ...job, seen: null, alternatives: 5 })).toThrow(/no 5 alternatives/);
  });
});
