/** Stages that train an adapter: resume bit for bit, PEFT folders on the same base, references without a second base. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readModelInfo } from '../../src/checkpoints/index.ts';
import { type AdapterOptions, loadModel, openPolicy, readAdapterConfig } from '../../src/models/index.ts';
import { trainableParameters } from '../../src/nn/index.ts';
import { ids, liveTensors, noGrad, scope } from '../../src/torch/index.ts';
import { Session } from '../../src/train/session.ts';
import { Harness, recipeWith } from './stage-harness.ts';
import { largestDifference } from './tiny.ts';

const optimisation = 'steps: 6, optimizerBatch: 8, microBatchTokens: 512, learningRate: 5.0e-3';
const adapter = (more: string) => `adapter: { rank: 4, alpha: 8, ${more} }`;
const grpo =
  'type: grpo, promptsPerStep: 4, groupSize: 4, epochs: 2, reference: start, kl: { beta: 0.05 }, rewards: [{ name: process, weight: 1 }]';
const lora = adapter('type: lora');
const sft = recipeWith(`- { type: sft, ${optimisation}, ${lora} }`);
const stages: readonly (readonly [string, string])[] = [
  ['sft with dropout', `- { type: sft, ${optimisation}, ${adapter('dropout: 0.1, type: rslora')} }`],
  ['sft of DoRA', `- { type: sft, ${optimisation}, ${adapter('type: dora, modulesToSave: [model.norm]')} }`],
  ['grpo', `- { ${grpo}, ${optimisation}, ${lora} }`],
  ['dpo', `- { type: dpo, promptsPerStep: 8, groupSize: 4, compare: first-error, ${optimisation}, ${lora} }`],
];

const harness = new Harness();
beforeAll(async () => harness.prepare(sft));
afterAll(() => harness[Symbol.dispose]());

const baseFolder = join(harness.folder, 'base-1', 'checkpoints', 'step-000040');
const checkpoint = (name: string) => join(harness.folder, name, 'checkpoints', 'step-000006');

const sameAdapter: AdapterOptions = {
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

function logitsOf(folder: string): Float32Array {
  using model = loadModel(folder, { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
  return noGrad(() => scope(() => model.logits(model.forward(ids([1, 5, 9, 13, 4, 7], [1, 6]))).toFloat32()));
}

describe.each(['f32', 'bf16'] as const)('in %s', (dtype) => {
  it.each(stages)(
    '%s: six steps are three, a stop, and three more',
    { timeout: 60_000 },
    async (name, stage) => {
      const recipe = recipeWith(stage, dtype);
      const [whole, halves] = [`${name} ${dtype} whole`, `${name} ${dtype} halves`];
      const before = liveTensors();
      expect(await harness.run(recipe, whole)).toBe('done');
      expect(liveTensors()).toBe(before);
      expect(await harness.run(recipe, halves, 3)).toBe('stopped');
      expect(await harness.run(recipe, halves)).toBe('done');
      expect(harness.essence(halves)).toEqual(harness.essence(whole));
      expect(harness.metrics(whole).some((row) => Number(row['grad_norm']) > 0)).toBe(true);
    },
  );
});

describe('dropout', () => {
  it('is on in sft', { timeout: 60_000 }, async () => {
    for (const share of [0, 0.5])
      await harness.run(
        recipeWith(`- { type: sft, ${optimisation}, ${adapter(`dropout: ${share}`)} }`),
        `dropout ${share}`,
      );
    const [without, withIt] = [0, 0.5].map((share) =>
      harness.metrics(`dropout ${share}`).map((row) => Number(row['loss'])),
    );
    // A new adapter adds nothing, so there is nothing to drop in the first step.
    expect(withIt![0]).toBe(without![0]);
    expect(withIt!.slice(1).some((loss, i) => loss !== without![i + 1])).toBe(true);
  });
});

describe('a checkpoint of an adapter', () => {
  const name = 'plain';
  beforeAll(async () => {
    await harness.run(sft, name);
  });

  it('is a PEFT folder that names its base from where it lies, and no model', () => {
    const files = readdirSync(checkpoint(name));
    expect(files).toContain('adapter_model.safetensors');
    expect(files).not.toContain('model.safetensors');
    expect(existsSync(join(checkpoint(name), 'tokenizer.json'))).toBe(true);
    const { base, rank } = readAdapterConfig(checkpoint(name));
    expect(rank).toBe(4);
    expect(resolve(checkpoint(name), base!)).toBe(resolve(baseFolder));
    expect(largestDifference(logitsOf(checkpoint(name)), logitsOf(baseFolder))).toBeGreaterThan(1e-2);
  });

  it('says in model_info.json and its card what it was made of', () => {
    const info = readModelInfo(checkpoint(name))!;
    expect(info).toMatchObject({ version: 1, base: null, how: 'sft', steps: 6 });
    expect(info.adapter).toEqual({
      type: 'lora',
      rank: 4,
      alpha: 8,
      targetModules: 'all-linear',
      merged: false,
    });
    expect(info.parents.map((parent) => parent.name)).toEqual([
      'base-0/checkpoints/step-000000',
      'base-1/checkpoints/step-000040',
    ]);
    const card = readFileSync(join(checkpoint(name), 'README.md'), 'utf8');
    expect(card).toContain('library_name: peft');
    expect(card).toContain('from: base-1/checkpoints/step-000040');
  });

  it('is gone on with on the same base, its start as the reference at a KL of zero', async () => {
    const recipe = recipeWith(`- { ${grpo}, ${optimisation}, ${lora} }`);
    const weights = readFileSync(join(baseFolder, 'model.safetensors'));
    expect(await harness.run(recipe, 'more', undefined, checkpoint(name))).toBe('done');
    expect(readFileSync(join(baseFolder, 'model.safetensors'))).toEqual(weights);
    const { base } = readAdapterConfig(checkpoint('more'));
    expect(resolve(checkpoint('more'), base!)).toBe(resolve(baseFolder));
    expect(readFileSync(join(checkpoint('more'), 'adapter_model.safetensors'))).not.toEqual(
      readFileSync(join(checkpoint(name), 'adapter_model.safetensors')),
    );
    const single = recipeWith(
      `- { ${grpo.replace('epochs: 2', 'epochs: 1')}, ${optimisation.replace('Batch: 8', 'Batch: 16')}, ${lora} }`,
    );
    await harness.run(single, 'single', undefined, checkpoint(name));
    const [first, ...later] = harness.metrics('single');
    expect(first!['policy/kl']).toBe(0);
    expect(later.some((row) => Number(row['policy/kl']) > 0)).toBe(true);
  });

  it('is trained whole, merged, where the next stage has no adapter', async () => {
    const recipe = recipeWith(`- { type: sft, ${optimisation} }`);
    expect(await harness.run(recipe, 'whole', undefined, checkpoint(name))).toBe('done');
    expect(readdirSync(checkpoint('whole'))).toContain('model.safetensors');
  });

  it('is refused where the next stage asks for another shape', async () => {
    const recipe = recipeWith(`- { type: sft, ${optimisation}, adapter: { rank: 8, alpha: 8 } }`);
    await expect(harness.run(recipe, 'other', undefined, checkpoint(name))).rejects.toMatchObject({
      code: 'other-adapter',
    });
  });

  it('restarts from the adapter that the stage began with', () => {
    using session = new Session(
      {
        name: 'restart',
        directory: harness.folder,
        seed: 1,
        compute: { device: 'cpu', dtype: 'f32', threads: 1, kernels: 'none' },
        parent: checkpoint(name),
        quiet: true,
        log: () => {},
        stream: { isTTY: false, write: () => true },
        stopRequested: () => false,
        setOutput: () => {},
      },
      {
        trainer: 'sft',
        steps: 1,
        checkpoints: { every: 1, keepLast: 1 },
        betas: [0.9, 0.95],
        epsilon: 1e-8,
        weightDecay: 0,
        adapter: sameAdapter,
      },
    );
    const values = () =>
      [...trainableParameters(session.policy).values()].map((value) => value.detach().toFloat32());
    const start = scope(values);
    noGrad(() =>
      scope(() => {
        for (const value of trainableParameters(session.policy).values()) value.mul_(2);
      }),
    );
    expect(scope(values)).not.toEqual(start);
    session.restart();
    expect(scope(values)).toEqual(start);
  });

  it('has an optimizer of the adapter alone', () => {
    using policy = openPolicy(checkpoint(name), {
      dtype: 'f32',
      computeDtype: 'bf16',
      device: 'cpu',
      seed: 1,
      adapter: sameAdapter,
    });
    const trained = trainableParameters(policy);
    expect(trained.size).toBe(2 * 14);
    for (const value of trained.values()) expect([value.dtype, value.requiresGrad]).toEqual(['f32', true]);
    for (const [, value] of policy.namedParameters())
      expect([value.dtype, value.requiresGrad]).toEqual(['bf16', false]);
  });
});
