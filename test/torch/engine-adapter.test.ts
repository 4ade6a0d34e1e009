/** What the engine reads of a policy under an adapter: the same weights, not a copy of them. */

import { expect, it } from 'vitest';
import { type Completion, type GenerationOptions, generate } from '../../src/generate/index.ts';
import {
  type AdapterConfig,
  adapterDefaults,
  createAdapter,
  Decoder,
  initialWeights,
  readerOf,
} from '../../src/models/index.ts';
import { adapterParameters, trainableParameters, useAdapter } from '../../src/nn/index.ts';
import { type DType, liveTensors, noGrad, op, scope, type Tensor } from '../../src/torch/index.ts';
import { cutMicroBatches } from '../../src/train/micro-batches.ts';
import { recordedLogps } from '../../src/train/policy-update.ts';
import { assertNoLeaks, tinyConfig, tinyModel, tokenizer } from './tiny.ts';

assertNoLeaks();

const requests = Array.from({ length: 6 }, (_, i) => ({
  problemId: `p${i}`,
  promptIds: Array.from({ length: 1 + 3 * i }, (_, j) => 3 + ((7 * i + 3 * j) % 20)),
  samples: 3,
}));

function options(changes: Partial<GenerationOptions> = {}): GenerationOptions {
  return { temperature: 1, topP: 1, maxNewTokens: 24, stopIds: [2], seed: 7, step: 3, ...changes };
}

/** A policy as `openPolicy` gives it: a base in the compute dtype that takes no gradient, and an adapter that does. */
function adapted(dtype: DType, changes: Partial<AdapterConfig> = {}): Decoder {
  const config = tinyConfig();
  const base = scope(() => {
    const weights = [...initialWeights(config, 1)].map(([name, value]) => [name, value.to(dtype)] as const);
    return new Decoder(config, new Map(weights), dtype);
  });
  createAdapter(
    base,
    'policy',
    { ...adapterDefaults, rank: 4, alpha: 6, targetModules: 'all-linear', ...changes },
    5,
  );
  noGrad(() =>
    scope(() => {
      for (const [name, value] of adapterParameters(base, 'policy'))
        if (!name.endsWith('magnitude_vector'))
          value.copy_(op('aten::randn')(value.shape) as Tensor).mul_(0.2);
    }),
  );
  useAdapter(base, 'policy');
  for (const value of trainableParameters(base).values()) value.requiresGrad_();
  return base;
}

async function sampled(policy: Decoder, changes: Partial<GenerationOptions> = {}): Promise<Completion[]> {
  using reader = readerOf(policy);
  return (await generate(reader.model, tokenizer, requests, options(changes))).flat();
}

function differences(policy: Decoder, completions: readonly Completion[]): number[] {
  const batches = cutMicroBatches(completions, 100_000, 0);
  const trainer = recordedLogps(policy, batches, 1)[0]!;
  const engine = batches[0]!.order.flatMap((i) => completions[i]!.logps);
  return engine.map((logp, i) => Math.abs(logp - trainer[i]!));
}

it('copies nothing under LoRA: an update of one weight is there at once', async () => {
  using policy = adapted('f32');
  const before = liveTensors();
  using reader = readerOf(policy);
  expect(liveTensors()).toBe(before);
  expect(reader.model).toBe(policy);
  const first = await sampled(policy);
  const [, weight] = [...adapterParameters(policy, 'policy')].find(([name]) => name.includes('lora_B'))!;
  noGrad(() =>
    scope(() => {
      weight.mul_(-2);
    }),
  );
  const second = await sampled(policy);
  expect(second.map((one) => one.completionIds)).not.toEqual(first.map((one) => one.completionIds));
  expect(Math.max(...differences(policy, second))).toBeLessThan(1e-5);
});

it.each([
  ['f32', 1e-5, 1e-5],
  ['bf16', 0.02, 0.003],
] as const)('log-probabilities beside the base are those of the trainer (%s)', async (dtype, most, mean) => {
  using policy = adapted(dtype);
  const found = differences(policy, await sampled(policy));
  expect(Math.max(...found)).toBeLessThan(most);
  expect(found.reduce((a, b) => a + b, 0) / found.length).toBeLessThan(mean);
});

it('a completion is the same alone and in any batch', async () => {
  using policy = adapted('f32');
  const whole = await sampled(policy);
  for (const maxRows of [1, 5]) {
    const again = await sampled(policy, { maxRows });
    expect(again.map((one) => one.completionIds)).toEqual(whole.map((one) => one.completionIds));
  }
});

it.each<[string, Partial<AdapterConfig>]>([
  ['DoRA', { dora: true }],
  ['a module stored whole', { modulesToSave: ['norm'] }],
])('reads a snapshot under %s', async (_, changes) => {
  using policy = adapted('f32', changes);
  using reader = readerOf(policy);
  expect(reader.model).not.toBe(policy);
  expect(Math.max(...differences(policy, await sampled(policy)))).toBeLessThan(2e-5);
});

it('reads a snapshot of a policy that is trained whole', () => {
  using policy = tinyModel();
  using reader = readerOf(policy);
  expect(reader.model).not.toBe(policy);
});
