/** Models whose matrices are in 8 bit: snapshots that sample, frozen bases under adapters, exact resume with both. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { generate } from '../../src/generate/index.ts';
import {
  type AdapterOptions,
  type Decoder,
  loadModel,
  openPolicy,
  openReference,
  readSafetensors,
  saveModel,
  savePolicy,
} from '../../src/models/index.ts';
import { adapterParameters, Linear, layersOf, trainableParameters } from '../../src/nn/index.ts';
import { formatRecipe, parseRecipe, type Recipe } from '../../src/recipe/index.ts';
import { backward, ids, liveTensors, noGrad, quantised, scope } from '../../src/torch/index.ts';
import { workWithSpread } from './spread-reward.ts';
import { expectExactResume, Harness, recipeWith } from './stage-harness.ts';
import { largestDifference, tinyModel, tokenizer } from './tiny.ts';

const optimisation = 'optimizerBatch: 8, microBatchTokens: 512, learningRate: 2.0e-3';
const stage = (more: string) =>
  `- { type: grpo, steps: 10, promptsPerStep: 4, groupSize: 4, ${optimisation}, epochs: 2, reference: start, kl: { beta: 0.05 }, rewards: [{ name: process, weight: 1 }], ${more} }`;
const ppo = (more: string) =>
  `- { type: ppo, steps: 10, promptsPerStep: 4, groupSize: 4, ${optimisation}, epochs: 2, kl: { coefficient: 0.05 }, rewards: [{ name: process, weight: 1 }], ${more} }`;
const harness = new Harness();
beforeAll(async () => harness.prepare(recipeWith(stage(''))));
afterAll(() => harness[Symbol.dispose]());

const sequence = [1, 5, 9, 13, 4, 7];
const logitsOf = (model: Decoder) =>
  noGrad(() => scope(() => model.logits(model.forward(ids(sequence, [1, 6]))).toFloat32()));

const adapter: AdapterOptions = {
  type: 'lora',
  rank: 4,
  alpha: 8,
  dropout: 0,
  targetModules: 'all-linear',
  modulesToSave: [],
  rankPattern: {},
  alphaPattern: {},
  init: 'default',
};
const load = { dtype: 'f32', computeDtype: 'f32', device: 'cpu' } as const;

/** Puts the numbers that rounding leaves into a model's own matrices. */
function roundInPlace(model: Decoder): void {
  noGrad(() =>
    scope(() => {
      for (const [, layer] of layersOf(model)) {
        if (!(layer instanceof Linear)) continue;
        const { values, scales } = quantised(layer.ownWeight);
        layer.ownWeight.copy_(values.to('f32').mul(scales.unsqueeze(1)));
      }
    }),
  );
}

/** Gives the policy's adapter numbers that change something. */
function stir(policy: Decoder): void {
  noGrad(() =>
    scope(() => {
      for (const [name, value] of trainableParameters(policy))
        if (name.endsWith('lora_B.weight')) value.copy_(value.add(0.05).mul(name.includes('mlp') ? 1 : -1));
    }),
  );
}

describe('a snapshot in 8 bit', () => {
  it.each([{}, { tieEmbeddings: false, projectionBias: false, headNorms: true }])(
    'computes what the rounded matrices give, %j',
    (changes) => {
      using policy = tinyModel(changes);
      using rounded = tinyModel(changes);
      roundInPlace(rounded);
      using snapshot = policy.snapshot('int8');
      expect(largestDifference(logitsOf(snapshot), logitsOf(rounded))).toBeLessThan(2e-5);
      expect(largestDifference(logitsOf(snapshot), logitsOf(policy))).toBeGreaterThan(1e-4);
      expect(snapshot.stateDict().get('model.layers.1.mlp.down_proj.weight')?.dtype).toBe('i8');
      expect(snapshot.headWeight.dtype).toBe('f32');
    },
  );

  it('is made anew with every weight that changed, and one that is held keeps the old ones', () => {
    for (const name of ['model.layers.0.self_attn.k_proj.weight', 'model.layers.1.mlp.down_proj.weight']) {
      using policy = tinyModel();
      using before = policy.snapshot('int8');
      const old = logitsOf(before);
      // One number, and so large that its row's scale changes.
      noGrad(() => scope(() => policy.stateDict().get(name)!.select(0, 3).select(0, 2).fill_(3)));
      using after = policy.snapshot('int8');
      expect(logitsOf(before)).toEqual(old);
      expect(largestDifference(logitsOf(after), old)).toBeGreaterThan(1e-4);
    }
  });

  it('samples with log-probabilities that are those of its own full pass', async () => {
    using policy = tinyModel();
    using snapshot = policy.snapshot('int8');
    const requests = [{ problemId: 'p', promptIds: [1, 5, 9], samples: 6 }];
    const options = { temperature: 1, topP: 1, maxNewTokens: 20, stopIds: [2], seed: 1, step: 1 };
    const [group] = await generate(snapshot, tokenizer, requests, options);
    for (const { promptIds, completionIds, logps } of group!) {
      const row = [...promptIds, ...completionIds];
      const full = noGrad(() =>
        scope(() => {
          const all = snapshot.logits(snapshot.forward(ids(row, [1, row.length]))).logSoftmax(-1);
          const width = snapshot.config.vocabSize;
          const flat = all.toFloat32();
          return completionIds.map((id, t) => flat[(promptIds.length + t - 1) * width + id]!);
        }),
      );
      expect(largestDifference(full, logps)).toBeLessThan(2e-5);
    }
  });

  it('is not written as if it were the model, and leaves nothing behind', () => {
    const before = liveTensors();
    {
      using policy = tinyModel();
      using snapshot = policy.snapshot('int8');
      const write = () => saveModel(snapshot, join(harness.folder, 'never'));
      expect(write).toThrow(expect.objectContaining({ code: 'rounded-weights' }));
    }
    expect(liveTensors()).toBe(before);
  });
});

describe('a frozen base in 8 bit under an adapter', () => {
  const open = (more: Partial<AdapterOptions> = {}) =>
    openPolicy(harness.start, { ...load, seed: 7, adapter: { ...adapter, baseWeights: 'int8', ...more } });

  it('has the loss and the gradients of the dequantised base', () => {
    const run = (policy: Decoder) => {
      stir(policy);
      scope(() =>
        backward(
          policy
            .logits(policy.forward(ids(sequence, [1, 6])))
            .square()
            .mean(),
        ),
      );
      const gradients = scope(() =>
        [...adapterParameters(policy, 'policy')].map(
          ([name, value]) => [name, value.grad!.toFloat32()] as const,
        ),
      );
      return { logits: logitsOf(policy), gradients };
    };
    using rounded = open();
    using plain = openPolicy(harness.start, { ...load, seed: 7, adapter });
    roundInPlace(plain);
    const [own, other] = [run(rounded), run(plain)];
    expect(largestDifference(own.logits, other.logits)).toBeLessThan(1e-4);
    own.gradients.forEach(([name, gradient], i) => {
      const largest = Math.max(...other.gradients[i]![1].map(Math.abs));
      expect(largestDifference(gradient, other.gradients[i]![1]), name).toBeLessThan(
        1e-5 * Math.max(1, largest),
      );
      expect(largest).toBeGreaterThan(0);
    });
  });

  it.each(['lora', 'dora'] as const)(
    'with a new %s is its own reference, bit for bit, and shares the base',
    (type) => {
      using policy = open({ type });
      using reference = openReference(policy, harness.start, load);
      expect(reference.stateDict().get('model.layers.0.mlp.up_proj.weight')?.dtype).toBe('i8');
      const bound = type === 'lora' ? 0 : 1e-5;
      expect(largestDifference(logitsOf(reference), logitsOf(policy))).toBeLessThanOrEqual(bound);
    },
  );

  it('samples merged, in full weights and in 8 bit', () => {
    using policy = open();
    stir(policy);
    using full = policy.snapshot();
    expect(largestDifference(logitsOf(full), logitsOf(policy))).toBeLessThan(2e-5);
    using small = policy.snapshot('int8');
    const difference = largestDifference(logitsOf(small), logitsOf(policy));
    expect(difference).toBeGreaterThan(0);
    expect(difference).toBeLessThan(0.3);
  });

  it('is exported beside the numbers of the file, never beside the rounded ones', () => {
    const folder = join(harness.folder, 'adapter-of-rounded');
    using policy = open({ modulesToSave: ['down_proj'] });
    savePolicy(policy, folder);
    using merged = loadModel(folder, load);
    using file = loadModel(harness.start, load);
    for (const [name, value] of file.stateDict())
      expect(merged.stateDict().get(name)!.toFloat32(), name).toEqual(value.toFloat32());
    // Whole copies begin with the file's numbers too.
    const saved = readSafetensors(join(folder, 'adapter_model.safetensors'));
    const whole = [...saved].filter(([name]) => name.endsWith('down_proj.weight'));
    expect(whole.length).toBe(2);
    for (const [name, value] of whole)
      expect(value.toFloat32()).toEqual(
        file.stateDict().get(name.replace('base_model.model.', ''))!.toFloat32(),
      );
    for (const value of saved.values()) value.dispose();
    rmSync(folder, { recursive: true });
  });
});

describe('training with weights in 8 bit', () => {
  const sampling = (recipe: Recipe) =>
    parseRecipe(formatRecipe(recipe), 'recipe.yaml', { set: ['sampling.weights=int8'] });

  it.each([
    ['rollouts', 'f32', stage('')],
    ['rollouts', 'bf16', stage('')],
    ['rollouts and base', 'f32', stage('adapter: { rank: 4, baseWeights: int8 }')],
    ['rollouts of ppo', 'f32', ppo('')],
    ['rollouts and base of ppo', 'f32', ppo('adapter: { rank: 4, baseWeights: int8 }')],
  ] as const)(
    '%s, %s: resumed bit for bit, its mismatch corrected and told',
    { timeout: 60_000 },
    async (name, dtype, text) => {
      const rows = await expectExactResume(
        harness,
        `int8 ${name} ${dtype}`,
        sampling(recipeWith(text, dtype)),
        'a kill',
        workWithSpread,
      );
      const mismatches = rows.map((row) => Number(row['policy/logp_mismatch_mean']));
      // On a rounded base the engine reads base and adapter as the trainer does; all else differs by more than f32 rounds.
      const alike = name.includes('base') ? mismatches.length : 0;
      expect(Math.max(0, ...mismatches.slice(0, alike))).toBeLessThan(1e-5);
      expect(Math.min(...mismatches.slice(alike))).toBeGreaterThan(1e-5);
      expect(Math.max(...mismatches)).toBeLessThan(0.2);
      for (const row of rows) {
        expect(row['policy/importance_mean']).toBeGreaterThan(0.5);
        expect(row['policy/importance_max']).toBeLessThanOrEqual(2);
      }
      if (alike === 0) expect(Number(rows.at(-1)?.['policy/importance_max'])).toBeGreaterThan(1);
    },
  );

  it('says nothing of importance weights where none are asked for', { timeout: 60_000 }, async () => {
    await harness.run(recipeWith(stage('')), 'full', 1);
    expect(Object.keys(harness.metrics('full')[0]!)).not.toContain('policy/importance_mean');
  });
});
