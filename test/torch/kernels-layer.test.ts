/** A layer of a decoding step as one kernel has the bits of the operators that it is made of, and writes the same cache. */

import { describe, expect, it } from 'vitest';
import {
  Decoder,
  initialWeights,
  KvCache,
  type ModelConfig,
  type StepPlace,
  stepContext,
} from '../../src/models/index.ts';
import {
  cat,
  type DType,
  decodeLayerKernel,
  fromBytes,
  ids,
  manualSeed,
  scope,
  setThreads,
  threads,
  zeros,
} from '../../src/torch/index.ts';
import { at, levels, levelsAndDtypes, randn, sameBits } from './levels.ts';
import { assertNoLeaks, tinyConfig } from './tiny.ts';

assertNoLeaks();

/** More rows than go into one piece on one thread, and no multiple of a tile; some share a prefix, some have none. */
const places: StepPlace[] = Array.from({ length: 71 }, (_, i) => {
  const prefixLength = i % 3 === 0 ? 0 : 5 + 9 * (i % 4);
  return { slot: (i * 29) % 71, position: prefixLength + (i % 23), prefix: i % 4, prefixLength };
});
const all = places.map((_, i) => i);

/** The model as engines have it, whose layers are one kernel from eight rows on. */
function frozen(changes: Partial<ModelConfig>, dtype: DType): Decoder {
  const config = tinyConfig(changes);
  using full = scope(() => new Decoder(config, initialWeights(config, 3), dtype));
  return full.snapshot('full', 'decoding');
}

/** Hidden states of all places, computed in such lots, and the cache afterwards. */
function step(model: Decoder, lots: readonly (readonly number[])[], dtype: DType) {
  const { layers, keyValueHeads, headDim } = model.config;
  const parts = { slots: 71, capacity: 24, prefixes: 4, prefixCapacity: 40 };
  using cache = new KvCache({ layers, keyValueHeads, headDim, ...parts }, dtype, 'cpu');
  manualSeed(4);
  for (const part of [...cache.own, ...cache.shared]) part.copy_(randn(part.shape, dtype));
  model.rope.reserve(64);
  const hidden = lots.map((rows) => {
    const context = stepContext(
      cache,
      model.rope,
      rows.map((row) => places[row]!),
    );
    const tokens = rows.map((row) => 3 + ((5 * row) % 20));
    return model.step(ids(tokens, [rows.length]), context).to('f32');
  });
  return { hidden: cat(hidden).toFloat32(), cache: cat([...cache.own]).toFloat32() };
}

describe.each(levelsAndDtypes)('a layer as one kernel, %s %s', (level, dtype) => {
  it.each([
    ['Qwen2', { projectionBias: true }],
    ['Qwen3', { projectionBias: false, headNorms: true, headDim: 32, hiddenSize: 40 }],
    [
      'odd widths and every bias',
      { projectionBias: true, outputBias: true, heads: 6, intermediateSize: 131, hiddenSize: 66 },
    ],
  ] as const)('has the bits of its operators: %s', (_name, changes) => {
    using model = at(level, () => frozen(changes, dtype));
    const few = Array.from({ length: 11 }, (_, i) => all.slice(7 * i, 7 * i + 7)).filter((lot) => lot.length);
    const apart = at(level, () => step(model, few, dtype));
    const before = threads();
    for (const count of [1, 2, 3]) {
      setThreads(count);
      const whole = at(level, () => step(model, [all], dtype));
      expect(sameBits(whole.hidden, apart.hidden)).toBe(true);
      expect(sameBits(whole.cache, apart.cache)).toBe(true);
    }
    setThreads(before);
  });
});

describe('the kernel of a layer', () => {
  const level = levels.at(-1)!;
  /** Its arguments for one row of width 8, one head of width 4 and an MLP of width 6; `changes` replaces some of them. */
  const call = (changes: { weights?: number; position?: number; middle?: number; x?: number } = {}) =>
    at(level, () => {
      const { weights = 8, position = 0, middle = 6, x = 8 } = changes;
      const matrix = (out: number, inputs: number) => ({
        matrix: { blocks: zeros([1, inputs, 64, 1], 'f32'), scales: null, out, in: inputs },
        bias: null,
      });
      const products = {
        qkv: matrix(12, weights),
        out: matrix(8, 4),
        gateUp: matrix(12, 8),
        down: matrix(8, middle),
        heads: 1,
        epsilon: 1e-6,
      };
      const past = {
        rotation: zeros([2, 1, 4], 'f32'),
        norms: null,
        epsilon: 0,
        cache: zeros([2, 1, 1, 3, 4], 'f32'),
        prefix: null,
        places: fromBytes(Int32Array.of(0, position, 0, 0), 'i32', [1, 4]),
      };
      return decodeLayerKernel(zeros([1, x], 'f32'), products, past).toFloat32();
    });

  it('adds nothing to zeros', () => {
    expect(call()).toEqual(new Float32Array(8));
  });

  it.each([
    [{ weights: 7 }, /x has 8 columns, and the weight 7 groups/],
    [{ x: 9 }, /x has 9 columns, and the weight 8 groups/],
    [{ middle: 70 }, /has no 140 outputs/],
    [{ position: 3 }, /stands at 3 of its slot, which holds 3/],
  ])('refuses %j', (changes, message) => {
    expect(() => call(changes)).toThrow(message);
  });
});
