/** Generation where memory does not suffice: fewer sequences at once, computed again from their tokens, and the same tokens. */

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { cacheShape } from '../../src/generate/cache-plan.ts';
import {
  type Completion,
  type GenerationOptions,
  type GenerationRequest,
  generate,
} from '../../src/generate/index.ts';
import { cacheBytes, type Decoder, gatheredBytes, saveModel } from '../../src/models/index.ts';
import { kernelLevel, useKernels, zeros } from '../../src/torch/index.ts';
import type { TightJob, TightResult } from './tight-room.ts';
import { assertNoLeaks, largestDifference, tinyConfig, tinyModel, tokenizer } from './tiny.ts';

assertNoLeaks();

const usual = kernelLevel();
afterAll(() => useKernels(usual));
const levels = [...new Set([usual, 'none'])];

const said: string[] = [];
function options(changes: Partial<GenerationOptions> = {}): GenerationOptions {
  said.length = 0;
  const log = (line: string) => void said.push(line);
  return { temperature: 1, topP: 1, maxNewTokens: 24, stopIds: [2], seed: 7, step: 3, log, ...changes };
}

const lengths = [3, 40, 7, 8, 9, 1, 64, 16, 17];
const requests: GenerationRequest[] = lengths.map((length, i) => ({
  problemId: `p${i}`,
  promptIds: Array.from({ length }, (_, j) => 3 + ((7 * i + 3 * j) % 20)),
  samples: 4,
}));

/** An allocation that no machine has room for. */
const tooMuch = (): never => {
  throw zeros([2 ** 48], 'f32');
};

/** What a model is asked to compute, each time a call of which `fails` says so finds no memory. */
function failing(
  model: Decoder,
  fails: (call: { kind: 'prefill' | 'step'; rows: number; nth: number }) => boolean,
) {
  const rows: number[] = [];
  const { prefill, extend, step } = model;
  const nth = { prefill: 0, step: 0 };
  const attempt = (kind: 'prefill' | 'step', count: number) => {
    if (fails({ kind, rows: count, nth: ++nth[kind] })) tooMuch();
  };
  model.prefill = (ids_BT, ...rest) => {
    attempt('prefill', ids_BT.numel);
    return prefill.call(model, ids_BT, ...rest);
  };
  model.extend = (ids_1T, ...rest) => {
    attempt('prefill', ids_1T.numel);
    return extend.call(model, ids_1T, ...rest);
  };
  model.step = (ids_N, ...rest) => {
    // After it has written to the cache, as a real one may.
    const hidden = step.call(model, ids_N, ...rest);
    attempt('step', ids_N.size(0));
    rows.push(ids_N.size(0));
    return hidden;
  };
  return rows;
}

const tokensOf = (groups: readonly Completion[][]) => groups.flat().map((one) => one.completionIds);

function expectSame(found: readonly Completion[][], whole: readonly Completion[][]): void {
  expect(tokensOf(found)).toEqual(tokensOf(whole));
  for (const [i, one] of found.flat().entries())
    expect(largestDifference(one.logps, whole.flat()[i]!.logps)).toBeLessThan(1e-5);
}

describe.skipIf(process.platform !== 'linux')('a machine without memory (needs prlimit)', () => {
  const script = fileURLToPath(new URL('./tight-room.ts', import.meta.url));
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'reckon-tight-'));
    using policy = tinyModel();
    saveModel(policy, folder);
    tokenizer.save(folder);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** What comes of a job here, and in a process of its own that has so little memory. */
  async function both(job: Omit<TightJob, 'model'>): Promise<{ tight: TightResult; whole: number[][] }> {
    useKernels(job.level);
    using policy = tinyModel();
    using model = policy.snapshot();
    const whole = await generate(model, tokenizer, job.requests, options({ maxNewTokens: job.maxNewTokens }));
    // V8 takes its share of what is left, and dies where it gets none.
    const words = [
      '--max-semi-space-size=2',
      '--import',
      'tsx',
      script,
      JSON.stringify({ ...job, model: folder }),
    ];
    const tight = JSON.parse(execFileSync(process.execPath, words, { encoding: 'utf8' })) as TightResult;
    return { tight, whole: tokensOf(whole).map((ids) => [...ids]) };
  }

  const { layers, keyValueHeads, headDim, heads } = tinyConfig();
  const of = (slots: number, capacity: number, prefixes: number, prefixCapacity: number) => ({
    layers,
    keyValueHeads,
    headDim,
    slots,
    capacity,
    prefixes,
    prefixCapacity,
  });

  it.each(levels)('runs fewer sequences at once where it refuses the cache, kernels: %s', async (level) => {
    const short = requests.map((request) => ({ ...request, samples: 140, maxNewTokens: 4 }));
    const room = 0.75 * cacheBytes(of(1260, 570, 9, 64), 'f32');
    const { tight, whole } = await both({ level, room, requests: short, maxNewTokens: 570 });
    expect(tight.ids).toEqual(whole);
    expect(Math.max(...tight.slots)).toBeLessThan(1260);
    expect(Math.max(...tight.slots)).toBeGreaterThan(150);
    expect(tight.said[0]).toContain('keys and values of 1260 sequences');
  });

  it('runs fewer where it refuses what a step copies of a prefix for each of its samples', async () => {
    const promptIds = Array.from({ length: 600 }, (_, j) => 3 + ((3 * j) % 20));
    const shared = [{ problemId: 'p', promptIds, samples: 800 }];
    const room = 0.7 * gatheredBytes(of(800, 4, 1, 600), heads, 'f32');
    const { tight, whole } = await both({ level: 'none', room, requests: shared, maxNewTokens: 4 });
    expect(tight.ids).toEqual(whole);
    expect(tight.said[0]).toMatch(/tried to allocate \d{8} bytes.*from here on \d{3} sequences/);
  });
});

describe.each(levels)('a step that finds no memory (kernels: %s)', (level) => {
  const everything: Partial<GenerationOptions> = {
    temperature: 0.8,
    topP: 0.95,
    minNewTokens: 3,
    repetitionPenalty: 1.1,
    stopStrings: ['42'],
    statistics: { alternatives: 2 },
  };

  it.each<[string, Partial<GenerationOptions>, number[]]>([
    ['the first', {}, [1]],
    ['some in the middle', {}, [9, 10, 24]],
    ['with filters and statistics', everything, [9, 40]],
    ['among chunks of prompts', { prefillChunk: 16 }, [2, 15]],
    ['of few rows', { maxRows: 5 }, [6, 30]],
  ])('%s: the sequences are computed again and nothing else changes', async (_, changes, at) => {
    useKernels(level);
    using policy = tinyModel();
    using model = policy.snapshot();
    const whole = await generate(model, tokenizer, requests, options(changes));
    failing(model, ({ kind, nth }) => kind === 'step' && at.includes(nth));
    const told = new Map<string, number[]>();
    const ended: string[] = [];
    const found = await generate(
      model,
      tokenizer,
      requests,
      options({
        ...changes,
        onToken: (problem, sample, id) => {
          const key = `${problem} ${sample}`;
          told.set(key, [...(told.get(key) ?? []), id]);
        },
        onRequest: (group) => void ended.push(group[0]!.problemId),
      }),
    );
    expectSame(found, whole);
    expect(said).toHaveLength(at.length);
    expect(said[0]).toMatch(/ran out of memory .*from here on \d+ sequences at once/);
    // Every token is told once, every request ends once.
    for (const { problemId, sampleIndex, completionIds } of found.flat())
      expect(told.get(`${problemId} ${sampleIndex}`)).toEqual(completionIds);
    expect(ended.toSorted()).toEqual(requests.map(({ problemId }) => problemId).toSorted());
  });

  it('halves how many run until they fit', async () => {
    useKernels(level);
    using policy = tinyModel();
    using model = policy.snapshot();
    const whole = await generate(model, tokenizer, requests, options());
    const rows = failing(model, ({ kind, rows: count }) => kind === 'step' && count > 6);
    expectSame(await generate(model, tokenizer, requests, options()), whole);
    expect(Math.max(...rows)).toBeLessThanOrEqual(6);
    expect(Math.max(...rows)).toBeGreaterThan(2);
    expect(said.map((line) => Number(/on (\d+) sequences/.exec(line)![1]))).toEqual([18, 9, 5]);
  });

  it('prefills fewer tokens at once where that is what does not fit, in as many slots', async () => {
    useKernels(level);
    using policy = tinyModel();
    using model = policy.snapshot();
    const promptIds = Array.from({ length: 500 }, (_, j) => 3 + ((3 * j) % 20));
    const long = [...requests, { problemId: 'long', promptIds, samples: 2 }];
    const whole = await generate(model, tokenizer, long, options());
    const rows = failing(model, ({ kind, rows: tokens }) => kind === 'prefill' && tokens > 140);
    expectSame(await generate(model, tokenizer, long, options()), whole);
    expect(said.length).toBeGreaterThan(2);
    for (const line of said) expect(line).toContain('from here on 38 sequences at once');
    expect(Math.max(...rows)).toBeGreaterThan(30);
  });

  it('is an error where one sequence is too much, and everything is freed', async () => {
    useKernels(level);
    using policy = tinyModel();
    using model = policy.snapshot();
    failing(model, ({ kind }) => kind === 'step');
    await expect(generate(model, tokenizer, requests, options())).rejects.toMatchObject({
      code: 'out-of-memory',
    });
    expect(said.map((line) => Number(/on (\d+) sequences/.exec(line)![1]))).toEqual([18, 9, 5, 3, 2, 1]);
  });

  it('is no reason to try again where the error is another', async () => {
    useKernels(level);
    using policy = tinyModel();
    using model = policy.snapshot();
    model.step = () => {
      throw new Error('another');
    };
    await expect(generate(model, tokenizer, requests, options())).rejects.toThrow('another');
    expect(said).toEqual([]);
  });

  it('ends an abort with the tokens that were there', async () => {
    useKernels(level);
    using policy = tinyModel();
    using model = policy.snapshot();
    const whole = await generate(model, tokenizer, requests, options({ stopIds: [] }));
    let steps = 0;
    failing(model, ({ kind }) => kind === 'step' && ++steps === 9);
    const found = await generate(
      model,
      tokenizer,
      requests,
      options({ stopIds: [], stopRequested: () => steps >= 12 }),
    );
    expect(tokensOf(found)).toEqual(tokensOf(whole).map((ids) => ids.slice(0, 9)));
  });
});

describe('the plan', () => {
  it('counts what a step copies where no kernel reads the cache in place', async () => {
    using policy = tinyModel();
    using model = policy.snapshot();
    const demand = {
      sequences: 40,
      requests: 5,
      longestPrompt: 17,
      maxNewTokens: 24,
      maxRows: undefined,
      maxBytes: 60_000,
    };
    useKernels(usual);
    const inPlace = cacheShape(model, { ...demand, spare: 0 });
    useKernels('none');
    const gathered = cacheShape(model, { ...demand, spare: 1 });
    useKernels(usual);
    expect(cacheBytes(gathered, 'f32') + gatheredBytes(gathered, 4, 'f32')).toBeLessThanOrEqual(60_000);
    if (usual !== 'none') expect(gathered.slots).toBeLessThan(inPlace.slots);
  });
});
