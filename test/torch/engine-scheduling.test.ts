import { afterAll, describe, expect, it } from 'vitest';
import { cacheShape } from '../../src/generate/cache-plan.ts';
import {
  type Completion,
  type GenerationOptions,
  type GenerationRequest,
  generate,
} from '../../src/generate/index.ts';
import { cacheBytes, type Decoder } from '../../src/models/index.ts';
import { kernelLevel, kernelLevels, useKernels } from '../../src/torch/index.ts';
import { assertNoLeaks, largestDifference, tinyModel, tokenizer } from './tiny.ts';

assertNoLeaks();

const usual = kernelLevel();
afterAll(() => useKernels(usual));

function options(changes: Partial<GenerationOptions> = {}): GenerationOptions {
  return { temperature: 1, topP: 1, maxNewTokens: 24, stopIds: [2], seed: 7, step: 3, ...changes };
}

/** Prompts of several lengths. */
function prompts(count: number, samples: number): GenerationRequest[] {
  return Array.from({ length: count }, (_, i) => ({
    problemId: `p${i}`,
    promptIds: Array.from({ length: 1 + ((i * 5) % 17) }, (_, j) => 3 + ((i + 3 * j) % 20)),
    samples,
  }));
}

/** What a model was asked to compute. */
function watched(model: Decoder): { prefilled: number[]; stepped: number[] } {
  const seen = { prefilled: [] as number[], stepped: [] as number[] };
  const [prefill, step] = [model.prefill.bind(model), model.step.bind(model)];
  model.prefill = (ids_BT, ...rest) => {
    seen.prefilled.push(ids_BT.size(0));
    return prefill(ids_BT, ...rest);
  };
  model.step = (ids_N, context) => {
    seen.stepped.push(ids_N.size(0));
    return step(ids_N, context);
  };
  return seen;
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
const tokensOf = (groups: readonly Completion[][]) => groups.flat().map((one) => one.completionIds);

describe('scheduling', () => {
  it('prefills a prompt once for all its samples, however few run at a time', async () => {
    using policy = tinyModel();
    using model = policy.snapshot();
    const seen = watched(model);
    const whole = await generate(model, tokenizer, prompts(5, 8), options());
    expect(sum(seen.prefilled)).toBe(5);
    for (const maxRows of [1, 3, 11]) {
      seen.prefilled.length = 0;
      seen.stepped.length = 0;
      const again = await generate(model, tokenizer, prompts(5, 8), options({ maxRows }));
      expect(sum(seen.prefilled)).toBe(5);
      expect(Math.max(...seen.stepped)).toBeLessThanOrEqual(maxRows + (kernelLevel() === 'none' ? 1 : 0));
      expect(tokensOf(again)).toEqual(tokensOf(whole));
    }
  });

  it('stays within a bound of memory by running fewer at once, and one where even that is too much', async () => {
    using policy = tinyModel();
    using model = policy.snapshot();
    const demand = {
      sequences: 40,
      requests: 5,
      longestPrompt: 17,
      maxNewTokens: 24,
      maxRows: undefined,
      spare: 0,
    };
    const all = cacheShape(model, { ...demand, maxBytes: undefined });
    expect([all.slots, all.prefixes, all.capacity, all.prefixCapacity]).toEqual([40, 5, 24, 17]);
    for (const part of [0.7, 0.3, 0.05]) {
      const maxBytes = part * cacheBytes(all, 'f32');
      const { slots } = cacheShape(model, { ...demand, maxBytes });
      expect(cacheBytes(cacheShape(model, { ...demand, maxBytes }), 'f32')).toBeLessThanOrEqual(maxBytes);
      expect(slots).toBeGreaterThanOrEqual(Math.floor(40 * part * 0.5));
    }
    expect(cacheShape(model, { ...demand, maxBytes: 1 }).slots).toBe(1);

    const whole = await generate(model, tokenizer, prompts(5, 8), options());
    const seen = watched(model);
    const cacheLimit = 0.2 * cacheBytes(all, 'f32');
    const tight = await generate(model, tokenizer, prompts(5, 8), options({ cacheBytes: cacheLimit }));
    expect(Math.max(...seen.stepped)).toBeLessThan(12);
    expect(tokensOf(tight)).toEqual(tokensOf(whole));
  });

  it('ends a request at its own limit', async () => {
    using policy = tinyModel();
    using model = policy.snapshot();
    const requests = prompts(6, 2).map((request, i) => ({ ...request, maxNewTokens: 4 * (i + 1) }));
    const groups = await generate(model, tokenizer, requests, options({ stopIds: [], maxNewTokens: 16 }));
    expect(groups.map((group) => group.map((one) => one.completionIds.length))).toEqual(
      [4, 8, 12, 16, 16, 16].map((length) => [length, length]),
    );
    await expect(
      generate(model, tokenizer, [{ ...requests[0]!, maxNewTokens: 0 }], options()),
    ).rejects.toThrow(/needs a prompt/);
  });
});

describe('exactness in f32', () => {
  it('40 completions of 48 tokens are the same alone as in a batch', async () => {
    using policy = tinyModel();
    using model = policy.snapshot();
    const long = options({ maxNewTokens: 48, stopIds: [] });
    const together = await generate(model, tokenizer, prompts(10, 4), long);
    const alone = await generate(model, tokenizer, prompts(10, 4), { ...long, maxRows: 1 });
    expect(tokensOf(alone)).toEqual(tokensOf(together));
    expect(tokensOf(together).every((ids) => ids.length === 48)).toBe(true);
    together.flat().forEach((one, i) => {
      expect(largestDifference(one.logps, alone.flat()[i]!.logps)).toBeLessThan(1e-5);
    });
  });

  it.each(kernelLevels().slice(1))('kernels of %s sample what libtorch samples', async (level) => {
    using policy = tinyModel();
    using model = policy.snapshot();
    const runs: Completion[][][] = [];
    for (const one of ['none', level]) {
      useKernels(one);
      runs.push(await generate(model, tokenizer, prompts(7, 3), options({ temperature: 0.8 })));
    }
    useKernels(usual);
    const [slow, fast] = runs as [Completion[][], Completion[][]];
    expect(tokensOf(fast)).toEqual(tokensOf(slow));
    fast.flat().forEach((one, i) => {
      expect(largestDifference(one.logps, slow.flat()[i]!.logps)).toBeLessThan(1e-5);
    });
  });

  it.each(
    kernelLevels()
      .slice(1)
      .flatMap((level) => (['f32', 'bf16'] as const).map((dtype) => [level, dtype] as const)),
  )('gives the bits of a whole batch where some requests are known (%s, %s)', async (level, dtype) => {
    useKernels(level);
    try {
      using policy = tinyModel({}, dtype);
      using model = policy.snapshot();
      const requests = prompts(9, 3);
      for (const maxRows of [4, 9, 40]) {
        const ended: string[] = [];
        const onRequest = (completions: readonly Completion[]) => ended.push(completions[0]!.problemId);
        const whole = await generate(model, tokenizer, requests, options({ maxRows, onRequest }));
        expect(ended.toSorted()).toEqual(requests.map(({ problemId }) => problemId));
        for (const known of [[0], [1, 4, 5, 8], [0, 1, 2, 3, 4, 5, 6, 7], [0, 1, 2, 3, 4, 5, 6, 7, 8]]) {
          const seen = watched(model);
          const part = requests.map((request, i) =>
            known.includes(i)
              ? { ...request, knownLengths: whole[i]!.map(({ completionIds }) => completionIds.length) }
              : request,
          );
          expect(await generate(model, tokenizer, part, options({ maxRows }))).toEqual(
            whole.map((completions, i) => (known.includes(i) ? [] : completions)),
          );
          const unknown = whole.filter((_, i) => !known.includes(i)).flat();
          const decoded = unknown.map(({ completionIds }) => completionIds.length - 1);
          expect(sum(seen.stepped)).toBe(sum(decoded));
        }
      }
    } finally {
      useKernels(usual);
    }
  });
});
