/** Owns what needs a GPU: the same numbers on CUDA as on the CPU. Skipped, with the reason printed, where there is none. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { generate } from '../../src/generate/index.ts';
import { lossWeights } from '../../src/losses/index.ts';
import { loadModel, saveModel } from '../../src/models/index.ts';
import { devices, ids, noGrad, scope } from '../../src/torch/index.ts';
import { cutMicroBatches } from '../../src/train/micro-batches.ts';
import { accumulatePolicyGradient } from '../../src/train/policy-update.ts';
import { largestDifference, takeGradients, tinyModel, tokenizer } from '../torch/tiny.ts';

const device = devices().find((name) => name.startsWith('cuda'));
if (device === undefined) process.stdout.write('test/gpu: skipped, this libtorch finds no CUDA device\n');

describe.skipIf(device === undefined)('on CUDA', () => {
  const loaded = () => {
    const folder = mkdtempSync(join(tmpdir(), 'reckon-gpu-'));
    using model = tinyModel();
    saveModel(model, folder);
    const copy = loadModel(folder, { dtype: 'f32', computeDtype: 'f32', device: device! });
    for (const [, parameter] of copy.namedParameters()) parameter.requiresGrad_();
    rmSync(folder, { recursive: true });
    return copy;
  };

  it('logits, completions and gradients are those of the CPU', async () => {
    using cpu = tinyModel();
    using gpu = loaded();
    const logits = (model: typeof cpu) =>
      noGrad(() =>
        scope(() => model.logits(model.forward(ids([1, 5, 9], [1, 3], model.device))).toFloat32()),
      );
    expect(largestDifference(logits(cpu), logits(gpu))).toBeLessThan(1e-4);

    const sample = async (model: typeof cpu) => {
      using snapshot = model.snapshot();
      const requests = [{ problemId: 'a', promptIds: [1, 5, 9], samples: 4 }];
      const options = { temperature: 0, topP: 1, maxNewTokens: 12, stopIds: [2], seed: 1, step: 0 };
      return (await generate(snapshot, tokenizer, requests, options)).flat();
    };
    const completions = await sample(cpu);
    expect((await sample(gpu)).map((one) => one.completionIds)).toEqual(
      completions.map((one) => one.completionIds),
    );

    const gradients = [cpu, gpu].map((policy) => {
      accumulatePolicyGradient({
        policy,
        reference: null,
        sequences: completions.map((one, i) => ({ ...one, advantage: i - 1.5 })),
        batches: cutMicroBatches(completions, 1000, 0),
        weights: lossWeights(
          completions.map((one) => one.completionIds.length),
          'tokens',
          12,
        ),
        oldLogps: null,
        temperature: 1,
        truncated: false,
        loss: { clip: { low: 0.2, high: 0.2 }, kl: { beta: 0, estimator: 'k3' } },
      });
      return takeGradients(policy);
    });
    for (const [name, gradient] of gradients[0]!) {
      expect(largestDifference(gradient, gradients[1]!.get(name)!), name).toBeLessThan(1e-4);
    }
  });
});
