import { expect, it } from 'vitest';
import { generate } from '../../src/generate/index.ts';
import { tinyModel, tokenizer } from '../torch/tiny.ts';

/** 100 completions of 128 tokens in f32, each alone and in several batches. */
it('a completion with the same seed is the same alone and in any batch', async () => {
  using policy = tinyModel();
  using model = policy.snapshot();
  const requests = Array.from({ length: 25 }, (_, i) => ({
    problemId: `p${i}`,
    promptIds: Array.from({ length: 1 + ((i * 5) % 17) }, (_, j) => 3 + ((i + 3 * j) % 20)),
    samples: 4,
  }));
  const sample = async (maxRows: number) =>
    (
      await generate(model, tokenizer, requests, {
        temperature: 1,
        topP: 1,
        maxNewTokens: 128,
        stopIds: [],
        seed: 7,
        step: 0,
        maxRows,
      })
    )
      .flat()
      .map((one) => one.completionIds);
  const together = await sample(100);
  for (const maxRows of [1, 5, 64]) expect(await sample(maxRows)).toEqual(together);
  expect(together.every((ids) => ids.length === 128)).toBe(true);
}, 600_000);
