/** Prompts on their way into the cache: in chunks, and completions that may not end yet. */

import { describe, expect, it } from 'vitest';
import {
  type Completion,
  type GenerationOptions,
  type GenerationRequest,
  generate,
} from '../../src/generate/index.ts';
import type { Decoder } from '../../src/models/index.ts';
import { cutMicroBatches } from '../../src/train/micro-batches.ts';
import { recordedLogps } from '../../src/train/policy-update.ts';
import { assertNoLeaks, largestDifference, tinyModel, tokenizer } from './tiny.ts';

assertNoLeaks();

function options(changes: Partial<GenerationOptions> = {}): GenerationOptions {
  return { temperature: 1, topP: 1, maxNewTokens: 16, stopIds: [2], seed: 7, step: 3, ...changes };
}

const lengths = [3, 40, 7, 8, 9, 1, 64, 16, 17];
const requests: GenerationRequest[] = lengths.map((length, i) => ({
  problemId: `p${i}`,
  promptIds: Array.from({ length }, (_, j) => 3 + ((7 * i + 3 * j) % 20)),
  samples: 2,
}));

/** Every pass of the model in order: tokens prefilled at once, or `step`. */
function watched(model: Decoder): (number | 'step')[] {
  const seen: (number | 'step')[] = [];
  const { prefill, extend, step } = model;
  model.prefill = (ids_BT, ...rest) => {
    seen.push(ids_BT.numel);
    return prefill.call(model, ids_BT, ...rest);
  };
  model.extend = (ids_1T, ...rest) => {
    seen.push(ids_1T.numel);
    return extend.call(model, ids_1T, ...rest);
  };
  model.step = (...all) => {
    seen.push('step');
    return step.call(model, ...all);
  };
  return seen;
}

const tokensOf = (groups: readonly Completion[][]) => groups.flat().map((one) => one.completionIds);

describe('chunked prefill', () => {
  it.each([1, 5, 8, 63, 64])(
    'samples what whole prompts sample, %i tokens at a time at most',
    async (prefillChunk) => {
      using policy = tinyModel();
      using model = policy.snapshot();
      const whole = await generate(model, tokenizer, requests, options());
      for (const maxRows of [4, 64]) {
        const passes = watched(model);
        const pieces = await generate(model, tokenizer, requests, options({ prefillChunk, maxRows }));
        expect(tokensOf(pieces)).toEqual(tokensOf(whole));
        pieces.flat().forEach((one, i) => {
          expect(largestDifference(one.logps, whole.flat()[i]!.logps)).toBeLessThan(1e-5);
        });
        const prefills = passes.filter((pass) => pass !== 'step');
        expect(Math.max(...prefills)).toBeLessThanOrEqual(prefillChunk);
        expect(prefills.reduce((a, b) => a + b, 0)).toBeGreaterThanOrEqual(
          lengths.reduce((a, b) => a + b, 0),
        );
      }
    },
  );

  it('samples what a prompt of more than 512 tokens samples, whose attention is the fused one', async () => {
    using policy = tinyModel();
    using model = policy.snapshot();
    const promptIds = Array.from({ length: 600 }, (_, j) => 3 + ((3 * j + (j % 7)) % 20));
    const long = [{ problemId: 'long', promptIds, samples: 2 }];
    const [whole, pieces] = [
      await generate(model, tokenizer, long, options()),
      await generate(model, tokenizer, long, options({ prefillChunk: 250 })),
    ];
    expect(tokensOf(pieces)).toEqual(tokensOf(whole));
    expect(largestDifference(pieces[0]![0]!.logps, whole[0]![0]!.logps)).toBeLessThan(1e-5);
  });

  it('is as exact in bf16 as the whole prefill', async () => {
    using policy = tinyModel({}, 'bf16');
    using model = policy.snapshot();
    const completions = (await generate(model, tokenizer, requests, options({ prefillChunk: 8 }))).flat();
    const batches = cutMicroBatches(completions, 100_000, 0);
    const trainer = recordedLogps(policy, batches, 1)[0]!;
    const engine = batches[0]!.order.flatMap((i) => completions[i]!.logps);
    const differences = engine.map((logp, i) => Math.abs(logp - trainer[i]!));
    expect(differences.reduce((a, b) => a + b, 0) / differences.length).toBeLessThan(0.003);
    expect(Math.max(...differences)).toBeLessThan(0.02);
  });

  it('decodes the others between the chunks of a long prompt', async () => {
    using policy = tinyModel();
    using model = policy.snapshot();
    const passes = watched(model);
    await generate(model, tokenizer, requests.slice(5, 7), options({ prefillChunk: 8, stopIds: [] }));
    // The prompt of one token starts at once; each chunk of the one of 64 is then followed by a step.
    expect(passes.slice(0, 18)).toEqual([1, 'step', ...[0, 1, 2, 3, 4, 5, 6, 7].flatMap(() => [8, 'step'])]);
  });

  it('frees what an abort in the middle of a prompt leaves', async () => {
    using policy = tinyModel();
    using model = policy.snapshot();
    let asked = 0;
    const stopRequested = () => ++asked > 3;
    const groups = await generate(model, tokenizer, requests, options({ prefillChunk: 8, stopRequested }));
    expect(groups.flat().every((one) => one.stopReason === 'aborted' || one.completionIds.length > 0)).toBe(
      true,
    );
    expect(groups[6]!.map((one) => one.completionIds)).toEqual([[], []]);
  });

  it.each([0, 2.5])('refuses a chunk of %d', async (prefillChunk) => {
    using policy = tinyModel();
    await expect(generate(policy, tokenizer, requests, options({ prefillChunk }))).rejects.toThrow(
      /1 or more/,
    );
  });
});

describe('what may not end yet', () => {
  it('keeps log-probabilities those of the trainer, and the sampling ones those of the draw', async () => {
    using policy = tinyModel();
    using model = policy.snapshot();
    const completions = (await generate(model, tokenizer, requests, options({ minNewTokens: 6 }))).flat();
    expect(completions.every((one) => one.completionIds.length >= 6)).toBe(true);
    expect(completions.some((one) => one.stopReason === 'eos')).toBe(true);
    const batches = cutMicroBatches(completions, 100_000, 0);
    const trainer = recordedLogps(policy, batches, 1)[0]!;
    const engine = batches[0]!.order.flatMap((i) => completions[i]!.logps);
    expect(largestDifference(engine, trainer)).toBeLessThan(1e-5);
    for (const { logps, samplingLogps } of completions) {
      logps.forEach((logp, i) => {
        if (i < 5) expect(samplingLogps[i]).toBeGreaterThan(logp);
        if (i > 5) expect(samplingLogps[i]).toBe(logp);
      });
    }
  });
});

it('records statistics of every token where they are asked for', async () => {
  using policy = tinyModel();
  using model = policy.snapshot();
  const plain = await generate(model, tokenizer, requests, options({ temperature: 0.7 }));
  const rich = await generate(
    model,
    tokenizer,
    requests,
    options({ temperature: 0.7, statistics: { alternatives: 3 } }),
  );
  expect(plain.flat()[0]!.statistics).toBeUndefined();
  expect(tokensOf(rich)).toEqual(tokensOf(plain));
  const completions = rich.flat();
  const batches = cutMicroBatches(completions, 100_000, 0);
  const atOne = recordedLogps(policy, batches, 1)[0]!;
  expect(
    largestDifference(
      batches[0]!.order.flatMap((i) => completions[i]!.statistics!.plainLogps),
      atOne,
    ),
  ).toBeLessThan(1e-5);
  for (const { completionIds, logps, statistics } of completions) {
    expect(statistics!.entropies).toHaveLength(completionIds.length);
    statistics!.alternatives.forEach((list, i) => {
      expect(list).toHaveLength(3);
      const own = list.find(({ id }) => id === completionIds[i]);
      if (own) expect(own.logp).toBeCloseTo(logps[i]!, 5);
      else expect(logps[i]).toBeLessThanOrEqual(list[2]!.logp);
    });
  }
});
