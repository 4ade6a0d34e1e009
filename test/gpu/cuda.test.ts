/** Owns what needs a GPU: the same numbers on CUDA as on the CPU. Skipped, with the reason printed, where there is none. */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type Completion, type GenerationOptions, generate } from '../../src/generate/index.ts';
import { lossWeights } from '../../src/losses/index.ts';
import { loadModel, saveModel } from '../../src/models/index.ts';
import {
  type DType,
  deviceMemory,
  devices,
  freeCachedMemory,
  ids,
  lacksMemory,
  noGrad,
  scope,
  zeros,
} from '../../src/torch/index.ts';
import { cutMicroBatches } from '../../src/train/micro-batches.ts';
import { accumulatePolicyGradient, recordedLogps } from '../../src/train/policy-update.ts';
import { largestDifference, takeGradients, tinyModel, tokenizer } from '../torch/tiny.ts';

const device = devices().find((name) => name.startsWith('cuda'));
if (device === undefined) process.stdout.write('test/gpu: skipped, this libtorch finds no CUDA device\n');

describe.skipIf(device === undefined)('on CUDA', () => {
  const loaded = (computeDtype: DType = 'f32') => {
    const folder = mkdtempSync(join(tmpdir(), 'reckon-gpu-'));
    using model = tinyModel();
    saveModel(model, folder);
    const copy = loadModel(folder, { dtype: 'f32', computeDtype, device: device! });
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

  const requests = [4, 1, 9, 30].map((length, i) => ({
    problemId: `p${i}`,
    promptIds: Array.from({ length }, (_, j) => 3 + ((7 * i + 3 * j) % 20)),
    samples: 4,
  }));
  const options = { temperature: 1, topP: 1, maxNewTokens: 24, stopIds: [2], seed: 1, step: 0 };
  const idsOf = (groups: readonly Completion[][]) => groups.flat().map((one) => one.completionIds);

  it.each<[string, Partial<GenerationOptions>]>([
    ['plain', {}],
    [
      'filtered',
      { temperature: 0.8, topP: 0.9, topK: 12, minP: 0.01, repetitionPenalty: 1.1, minNewTokens: 3 },
    ],
    ['in chunks, few at a time', { prefillChunk: 8, maxRows: 3 }],
    ['with statistics', { statistics: { alternatives: 3 } }],
  ])('samples what the CPU samples: %s', async (_, changes) => {
    using cpu = tinyModel();
    using gpu = loaded();
    const [here, there] = [
      (await generate(cpu, tokenizer, requests, { ...options, ...changes })).flat(),
      (await generate(gpu, tokenizer, requests, { ...options, ...changes })).flat(),
    ];
    // Rounding may draw a neighbour where a uniform number lies on a bound.
    const same = there.filter((one, i) => one.completionIds.join() === here[i]!.completionIds.join());
    expect(same.length).toBeGreaterThanOrEqual(here.length - 1);
    for (const one of same) {
      const other = here.find(
        (two) => two.problemId === one.problemId && two.sampleIndex === one.sampleIndex,
      )!;
      expect(largestDifference(one.logps, other.logps)).toBeLessThan(1e-4);
      expect(largestDifference(one.samplingLogps, other.samplingLogps)).toBeLessThan(1e-4);
    }
  });

  it.each([
    ['f32', 1e-4, 1e-5],
    ['bf16', 0.02, 0.003],
  ] as const)('log-probabilities are those of the trainer (%s)', async (computeDtype, most, mean) => {
    using policy = loaded(computeDtype);
    using model = policy.snapshot();
    const completions = (await generate(model, tokenizer, requests, options)).flat();
    const batches = cutMicroBatches(completions, 100_000, 0);
    const trainer = recordedLogps(policy, batches, 1)[0]!;
    const engine = batches[0]!.order.flatMap((i) => completions[i]!.logps);
    const differences = engine.map((logp, i) => Math.abs(logp - trainer[i]!));
    expect(Math.max(...differences)).toBeLessThan(most);
    expect(differences.reduce((a, b) => a + b, 0) / differences.length).toBeLessThan(mean);
  });

  it('samples in 8 bit as the CPU does', async () => {
    using cpu = tinyModel();
    using gpu = loaded();
    using here = cpu.snapshot('int8');
    using there = gpu.snapshot('int8');
    const greedy = { ...options, temperature: 0 };
    expect(idsOf(await generate(there, tokenizer, requests, greedy))).toEqual(
      idsOf(await generate(here, tokenizer, requests, greedy)),
    );
  });

  it('knows want of memory, empties the cache, and samples fewer at once', async () => {
    const tooMuch = () => zeros([2 ** 48], 'f32', device!);
    expect(lacksMemory(errorOf(tooMuch))).toBe(true);
    freeCachedMemory(device!);
    using gpu = loaded();
    const { total, peak } = deviceMemory(device!)!;
    expect(peak).toBeGreaterThan(0);
    expect(total).toBeGreaterThan(peak);
    const whole = idsOf(await generate(gpu, tokenizer, requests, options));
    const { step } = gpu;
    gpu.step = (ids_N, context) => {
      if (ids_N.size(0) > 6) tooMuch();
      return step.call(gpu, ids_N, context);
    };
    const said: string[] = [];
    const log = (line: string) => void said.push(line);
    expect(idsOf(await generate(gpu, tokenizer, requests, { ...options, log }))).toEqual(whole);
    expect(said.length).toBeGreaterThan(0);
  });
});

function errorOf(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return null;
}
