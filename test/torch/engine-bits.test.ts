/** In bf16 the steps of decoding have the bits of a whole pass of training: the two never disagree about a token. */

import { describe, expect, it } from 'vitest';
import { localEngine, policyVocabulary } from '../../src/generate/index.ts';
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
  stepsAreExact,
} from '../../src/models/index.ts';
import { adapterParameters, useAdapter } from '../../src/nn/index.ts';
import {
  arange,
  cat,
  ids,
  kernelLevel,
  manualSeed,
  noGrad,
  scope,
  useKernels,
} from '../../src/torch/index.ts';
import { cutMicroBatches } from '../../src/train/micro-batches.ts';
import { type CutMinibatch, logpsBeforeUpdates } from '../../src/train/policy-update.ts';
import { pairLevels, randn, sameBits, withLevel } from './levels.ts';
import { assertNoLeaks, tinyConfig, tokenizer } from './tiny.ts';

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
      const asked = arange(0, prompt);
      const start = model.prefill(ids(tokens.slice(0, prompt), [1, prompt]), asked, (layer, keys, values) =>
        cache.fill(layer, ids([0]), keys, values),
      );
      model.rope.reserve(tokens.length);
      const steps = tokens.slice(prompt).map((token, i) => {
        const place = { slot: 0, position: prompt + i, prefix: 0, prefixLength: prompt };
        const hidden = model.step(ids([token], [1]), stepContext(cache, model.rope, [place]));
        return model.stepLogits(hidden).to('f32');
      });
      return [whole.toFloat32(), cat([model.logits(start), ...steps]).toFloat32()];
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

/** Completions as minibatches for an update. */
async function rolloutsOf(policy: Decoder): Promise<CutMinibatch[]> {
  const requests = [5, 12, 31].map((length, i) => ({
    problemId: `p${i}`,
    promptIds: tokens.slice(i, i + length),
    samples: 2,
  }));
  using engine = localEngine(policy, tokenizer);
  const options = { maxNewTokens: 20, temperature: 0.8, topP: 0.9, stopIds: [2], seed: 9, step: 1 };
  const completions = (await engine.generate(requests, options)).flat();
  const sequences = completions.map((one) => ({ ...one, advantage: 1 }));
  return [sequences.slice(0, 3), sequences.slice(3)].map((some) => ({
    sequences: some,
    batches: cutMicroBatches(some, 64, 0),
  }));
}

describe.each(pairLevels)('a policy in bf16, %s', (level) => {
  it.each([
    ['whole', {}],
    ['whole', { headNorms: true, projectionBias: false, tieEmbeddings: false }],
    ['adapter', {}],
    ['adapter on 8 bit', {}],
  ] as const)('%s, %o: decodes the bits that training computes', (kind, changes) => {
    manualSeed(3);
    withLevel(level, () => {
      using policy = policyOf(kind, changes);
      for (const prompt of [1, 16, 33]) {
        const [whole, steps] = bothWays(policy, prompt);
        expect(sameBits(steps, whole)).toBe(true);
      }
    });
  });

  it.each([
    ['whole', {}],
    ['adapter', {}],
    ['adapter on 8 bit', {}],
    ['whole', { vocabSize: tokenizer.size + 13 }],
    ['adapter', { vocabSize: tokenizer.size + 13, tieEmbeddings: false }],
  ] as const)('%s, %o: what the sampler recorded serves as old log-probabilities', async (kind, changes) => {
    const before = kernelLevel();
    useKernels(level);
    try {
      using policy = policyOf(kind, changes);
      const minibatches = await rolloutsOf(policy);
      const vocabulary = policyVocabulary(policy, tokenizer);
      expect(vocabulary).toBe(tokenizer.size);
      expect(stepsAreExact(policy)).toBe(true);
      const [sampled, computed] = [true, false].map((isExact) =>
        logpsBeforeUpdates(policy, minibatches, 0.8, isExact, vocabulary),
      );
      expect(sampled).toEqual(computed);
      // Another temperature is another distribution: the probe sees it, and all are computed.
      const others = logpsBeforeUpdates(policy, minibatches, 1, true, vocabulary);
      expect(others).toEqual(logpsBeforeUpdates(policy, minibatches, 1, false, vocabulary));
      expect(others).not.toEqual(computed);
      // What pads the embedding is no part of the distribution.
      const ids = minibatches.flatMap(({ batches }) => batches.flatMap(({ targets }) => [...targets]));
      expect(Math.max(...ids)).toBeLessThan(vocabulary);
      if ('vocabSize' in changes)
        expect(logpsBeforeUpdates(policy, minibatches, 0.8, false)).not.toEqual(computed);
    } finally {
      useKernels(before);
    }
  });

  it.each([
    ['heads of another width', 'whole', { headDim: 16 }, 'full'],
    ['rollouts in 8 bit', 'whole', {}, 'int8'],
    ['rollouts of an adapter in 8 bit', 'adapter', {}, 'int8'],
  ] as const)('%s: steps are not said to be exact', (_name, kind, changes, weights) => {
    withLevel(level, () => {
      using policy = policyOf(kind, changes);
      expect(stepsAreExact(policy, weights)).toBe(false);
    });
  });

  it('which is trained in part is not said to be exact, nor in f32 or by other kernels', () => {
    using policy = policyOf('whole', {});
    using wide = scope(() => new Decoder(policy.config, initialWeights(policy.config, 1), 'f32'));
    for (const [, value] of wide.namedParameters()) value.requiresGrad_();
    withLevel(level, () => expect(stepsAreExact(wide)).toBe(false));
    withLevel('avx512', () => expect(stepsAreExact(policy)).toBe(false));
    withLevel('none', () => expect(stepsAreExact(policy)).toBe(false));
    withLevel(level, () => expect(stepsAreExact(policy)).toBe(true));
    for (const [, value] of [...policy.namedParameters()].slice(0, 3)) value.requiresGrad_(false);
    withLevel(level, () => expect(stepsAreExact(policy)).toBe(false));
  });
});
