/**
 * No code path assumes the CPU: every stage and the engine on a pretended machine with two GPUs, which keeps to their rules.
 * On a real one: test/gpu.
 */

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { cacheShape } from '../../src/generate/cache-plan.ts';
import { type GenerationOptions, generate } from '../../src/generate/index.ts';
import { type Decoder, loadModel, saveModel } from '../../src/models/index.ts';
import { devices, setThreads, tensor } from '../../src/torch/index.ts';
import { type EveryStage, runEveryStage } from './every-stage.ts';
import type { PretendedGpu } from './pretended-gpu.ts';
import { tinyModel, tokenizer } from './tiny.ts';

const machine = vi.hoisted(() => ({ gpu: null as PretendedGpu | null }));
vi.mock('../../src/torch/addon.ts', async (original) => {
  const { native } = await original<typeof import('../../src/torch/addon.ts')>();
  const pretended = await import('./pretended-gpu.ts');
  machine.gpu = new pretended.PretendedGpu();
  return { native: pretended.addonWith(machine.gpu, native) };
});

const gpu = (): PretendedGpu => machine.gpu!;
const said = ({ lines }: EveryStage, pattern: RegExp) => lines.filter((line) => pattern.test(line));

beforeAll(() => setThreads(1));
beforeEach(() => {
  gpu().reads = 0;
  gpu().waits = 0;
  gpu().lacksMemoryFor = () => false;
  gpu().freed.length = 0;
});

it('lists what it has, and refuses tensors of two devices', () => {
  expect(devices()).toEqual(['cuda:0', 'cuda:1', 'cpu']);
  using here = tensor([1, 2]);
  using there = tensor([1, 2], { device: 'cuda:0' });
  expect(there.device).toBe('cuda:0');
  expect(() => here.add(there)).toThrow('all tensors on one device');
  using sum = there.add(there);
  expect([sum.device, ...sum.toFloat32()]).toEqual(['cuda:0', 2, 4]);
});

function copyOn(device: string, model: Decoder): Decoder {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-pretended-'));
  saveModel(model, folder);
  const copy = loadModel(folder, { dtype: 'f32', computeDtype: 'f32', device });
  rmSync(folder, { recursive: true });
  return copy;
}

describe('the engine', () => {
  const requests = [4, 1, 9].map((length, i) => ({
    problemId: `p${i}`,
    promptIds: Array.from({ length }, (_, j) => 3 + ((7 * i + 3 * j) % 20)),
    samples: 4,
  }));
  const plain: GenerationOptions = {
    temperature: 1,
    topP: 1,
    maxNewTokens: 24,
    stopIds: [],
    seed: 1,
    step: 0,
  };

  it.each<[string, Partial<GenerationOptions>]>([
    ['plain', {}],
    [
      'filtered',
      {
        temperature: 0.8,
        topP: 0.9,
        topK: 12,
        minP: 0.01,
        repetitionPenalty: 1.1,
        minNewTokens: 3,
        stopIds: [2],
        logitBias: new Map([[5, -1]]),
      },
    ],
    ['with statistics', { statistics: { alternatives: 3 } }],
  ])('samples what the CPU samples, and waits once a step, for the tokens: %s', async (_, changes) => {
    using cpu = tinyModel();
    using model = copyOn('cuda:1', cpu);
    const options = { ...plain, ...changes };
    const here = (await generate(cpu, tokenizer, requests, options)).flat();
    gpu().reads = 0;
    gpu().waits = 0;
    const there = (await generate(model, tokenizer, requests, options)).flat();
    expect(there.map((one) => one.completionIds)).toEqual(here.map((one) => one.completionIds));
    expect(gpu().reads).toBe(Math.max(...there.map((one) => one.completionIds.length)));
    expect(gpu().waits).toBe(0);
  });
});

it('the cache takes a quarter of what the GPU has, whatever the machine has', () => {
  using here = tinyModel();
  using there = copyOn('cuda:0', here);
  const asked = { sequences: 500, requests: 500, longestPrompt: 100, maxNewTokens: 900, spare: 0 };
  const slots = (model: Decoder): number =>
    cacheShape(model, { ...asked, maxRows: undefined, maxBytes: undefined }).slots;
  const { memory } = gpu();
  gpu().memory = { ...memory, total: 2 ** 28 };
  const [few, all] = [slots(there), slots(here)];
  gpu().memory = { ...memory, total: 2 ** 29 };
  expect(few).toBeLessThan(all);
  expect(slots(there) / few).toBeCloseTo(2, 0);
  gpu().memory = memory;
});

describe('a run', () => {
  it('of every stage gives the metrics of the CPU, frozen models on the second GPU', {
    timeout: 120_000,
  }, async () => {
    const here = await runEveryStage('cpu', 'f32');
    const there = await runEveryStage('auto', 'f32');
    expect(said(there, /computing on|policy on/).map((line) => line.trim())).toEqual([
      'computing on cuda:0 in f32 with 1 thread',
      '04-grpo: policy on cuda:0, reference on cuda:1',
      '05-ppo: policy on cuda:0, teacher on cuda:1, reference on cuda:1',
      '06-distill: policy on cuda:0, teacher on cuda:1',
      '08-dpo: policy on cuda:0, reference on cuda:1',
    ]);
    expect([...there.metrics.keys()]).toEqual([...here.metrics.keys()]);
    expect(there.metrics.size).toBe(8);
    const peaks = (run: EveryStage) =>
      new Set([...run.metrics.values()].flat().map((row) => row['memory/device_peak_bytes']));
    expect([peaks(there), peaks(here)]).toEqual([new Set([gpu().memory.peak]), new Set([undefined])]);
    for (const [stage, rows] of here.metrics) {
      for (const [i, row] of rows.entries()) {
        for (const [name, value] of Object.entries(row)) {
          if (/^(time|perf|memory)\//.test(name) || typeof value !== 'number') continue;
          const found = Number(there.metrics.get(stage)![i]![name]);
          expect(Math.abs(found - value), `${stage} ${i} ${name}`).toBeLessThan(1e-3 * (1 + Math.abs(value)));
        }
      }
    }
  });

  it('in bf16, where nothing is said of it', { timeout: 120_000 }, async () => {
    const run = await runEveryStage(
      'auto',
      'auto',
      `
  - type: prepare
  - { type: grpo, steps: 2, promptsPerStep: 4, groupSize: 4, optimizerBatch: 8, microBatchTokens: 512, learningRate: 1.0e-3, rewards: [{ name: process, weight: 1 }] }`,
    );
    expect(said(run, /computing on/)[0]).toContain('cuda:0 in bf16');
    expect(run.metrics.get('02-grpo')).toHaveLength(2);
  });

  it('that finds no memory in a training pass frees the caches and goes on with half the micro-batch', {
    timeout: 120_000,
  }, async () => {
    const stages = `
  - type: prepare
  - { type: sft, steps: 4, optimizerBatch: 16, microBatchTokens: 1024, learningRate: 1.0e-3 }`;
    const whole = await runEveryStage('cuda', 'f32', stages);
    let refused = 0;
    gpu().lacksMemoryFor = (name, [x]) => {
      const rows = (x ?? []).slice(0, -1).reduce((product, size) => product * size, 1);
      const lacks = (name === 'aten::linear' || name === 'reckon::product') && rows > 600;
      refused += Number(lacks);
      return lacks;
    };
    gpu().freed.length = 0;
    const halved = await runEveryStage('cuda', 'f32', stages);
    expect(refused).toBe(1);
    expect(gpu().freed).toEqual(expect.arrayContaining(['cuda:0', 'cuda:1']));
    const told = said(halved, /Once more/);
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(/02-sft: .*CUDA out of memory.*microBatchTokens 512, half of before/);
    const losses = (run: EveryStage) => run.metrics.get('02-sft')!.map((row) => Number(row['loss']));
    expect(losses(halved)).toHaveLength(4);
    for (const [i, loss] of losses(whole).entries()) expect(losses(halved)[i]).toBeCloseTo(loss, 4);
  });
});
