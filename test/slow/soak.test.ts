/** Owns the soak: many short generations leave the count of live tensors and the memory flat. */

import { expect, it } from 'vitest';
import { generate } from '../../src/generate/index.ts';
import { liveTensors } from '../../src/torch/index.ts';
import { tinyModel, tokenizer } from '../torch/tiny.ts';

const rounds = Math.ceil(100 * Number(process.env['RECKON_SLOW_SCALE'] ?? 1));

it(`${rounds * 100} short generations leave tensors and memory flat`, async () => {
  using policy = tinyModel();
  using model = policy.snapshot();
  const requests = Array.from({ length: 100 }, (_, i) => ({
    problemId: `p${i}`,
    promptIds: [1, 3 + (i % 20), 4],
    samples: 1,
  }));
  const memory: number[] = [];
  // The model's table of rotations for decoding is made at its first generation, and stays.
  let before: number | null = null;
  for (let step = 0; step < rounds; step++) {
    await generate(model, tokenizer, requests, {
      temperature: 1,
      topP: 1,
      maxNewTokens: 12,
      stopIds: [2],
      seed: 1,
      step,
      maxRows: 32,
    });
    before ??= liveTensors();
    expect(liveTensors()).toBe(before);
    memory.push(process.memoryUsage.rss());
  }
  const early = Math.max(...memory.slice(0, Math.ceil(rounds / 4)));
  expect(memory.at(-1)! - early).toBeLessThan(100 * 2 ** 20);
});
