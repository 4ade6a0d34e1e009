/** In bf16 the steps of decoding have the bits of a whole pass of training: the two never disagree about a token. */

import { describe, expect, it } from 'vitest';
import { copiedState } from '../../src/models/copied-state.ts';
import {
  adapterDefaults,
  createAdapter,
  Decoder,
  initialWeights,
  KvCache,
  type ModelConfig,
  readerOf,
  stepContext,
} from '../../src/models/index.ts';
import { adapterParameters, useAdapter } from '../../src/nn/index.ts';
import { cat, ids, manualSeed, noGrad, scope } from '../../src/torch/index.ts';
import { levels, multipliesBf16, randn, sameBits, withLevel } from './levels.ts';
import { assertNoLeaks, tinyConfig } from './tiny.ts';

assertNoLeaks();

/** Wide enough for several blocks and stretches of a product, and for oddly many tokens of a prompt. */
const shape: Partial<ModelConfig> = {
  hiddenSize: 320,
  layers: 3,
  heads: 6,
  keyValueHeads: 2,
  headDim: 64,
  intermediateSize: 700,
};

const tokens = Array.from({ length: 70 }, (_, i) => 3 + ((7 * i + i * i) % 20));

/** Logits of all tokens by a whole pass, and by a prefill of the first and a step for each of the others. */
function bothWays(policy: Decoder, prompt: number): [whole: Float32Array, steps: Float32Array] {
  const { layers, keyValueHeads, headDim } = policy.config;
  using reader = readerOf(policy);
  const { model } = reader;
  const parts = { slots: 1, capacity: tokens.length, prefixes: 1, prefixCapacity: 40 };
  using cache = new KvCache({ layers, keyValueHeads, headDim, ...parts }, 'bf16', 'cpu');
  return noGrad(() =>
    scope(() => {
      const whole = policy.logits(policy.forward(ids(tokens, [1, tokens.length])).select(0, 0));
      const start = model.forward(ids(tokens.slice(0, prompt), [1, prompt]), (layer, keys, values) =>
        cache.fill(layer, ids([0]), keys, values),
      );
      model.rope.reserve(tokens.length);
      const steps = tokens.slice(prompt).map((token, i) => {
        const place = { slot: 0, position: prompt + i, prefix: 0, prefixLength: prompt };
        const hidden = model.step(ids([token], [1]), stepContext(cache, model.rope, [place]));
        return model.stepLogits(hidden).to('f32');
      });
      return [whole.toFloat32(), cat([model.logits(start.select(0, 0)), ...steps]).toFloat32()];
    }),
  );
}

/** A policy with f32 masters, or a frozen base in bf16 or 8 bit with an adapter that has learned something. */
function policyOf(kind: 'whole' | 'adapter' | 'adapter on 8 bit', changes: Partial<ModelConfig>): Decoder {
  const config = tinyConfig({ ...shape, ...changes });
  const full = scope(() => new Decoder(config, initialWeights(config, 1), 'bf16'));
  if (kind === 'whole') {
    for (const [, value] of full.namedParameters()) value.requiresGrad_();
    return full;
  }
  using _full = full;
  const base = scope(
    () =>
      new Decoder(
        config,
        copiedState(full, 'bf16', () => kind === 'adapter on 8 bit'),
        'bf16',
      ),
  );
  createAdapter(base, 'policy', { ...adapterDefaults, rank: 5, alpha: 8, targetModules: 'all-linear' }, 5);
  noGrad(() =>
    scope(() => {
      for (const [, value] of adapterParameters(base, 'policy'))
        value.copy_(randn(value.shape, 'f32')).mul_(0.05);
    }),
  );
  useAdapter(base, 'policy');
  return base;
}

describe.skipIf(!multipliesBf16)('a policy in bf16', () => {
  it.each([
    ['whole', {}],
    ['whole', { headNorms: true, projectionBias: false, tieEmbeddings: false }],
    ['adapter', {}],
    ['adapter on 8 bit', {}],
  ] as const)('%s, %o: decodes the bits that training computes', (kind, changes) => {
    manualSeed(3);
    withLevel(levels.at(-1)!, () => {
      using policy = policyOf(kind, changes);
      for (const prompt of [1, 16, 33]) {
        const [whole, steps] = bothWays(policy, prompt);
        expect(sameBits(steps, whole)).toBe(true);
      }
    });
  });
});
