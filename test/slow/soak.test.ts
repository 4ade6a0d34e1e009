/** Owns the soak: many short generations of every kind leave the count of live tensors and the memory flat. */

import { expect, it } from 'vitest';
import { type GenerationOptions, generate } from '../../src/generate/index.ts';
import { liveTensors } from '../../src/torch/index.ts';
import { tinyModel, tokenizer } from '../torch/tiny.ts';

const rounds = Math.max(40, Math.ceil(100 * Number(process.env['RECKON_SLOW_SCALE'] ?? 1)));

let asked = 0;
const kinds: readonly Partial<GenerationOptions>[] = [
  {},
  { temperature: 0, prefillChunk: 2 },
  { topK: 8, topP: 0.9, minP: 0.02, repetitionPenalty: 1.2, minNewTokens: 3, logitBias: new Map([[4, -1]]) },
  { statistics: { alternatives: 3 }, stopStrings: ['12', '+'] },
  { stopRequested: () => ++asked % 6 === 0 },
];

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
      ...kinds[step % kinds.length],
    });
    before ??= liveTensors();
    expect(liveTensors()).toBe(before);
    memory.push(process.memoryUsage.rss() / 2 ** 20);
  }
  const half = Math.floor(rounds / 2);
  const [early, late] = [memory.slice(0, half), memory.slice(half)].map((part) => Math.max(...part)) as [
    number,
    number,
  ];
  console.log(
    `resident memory at most ${early.toFixed(1)} MiB in the first half, ${late.toFixed(1)} in the second`,
  );
  expect(late - early).toBeLessThan(8);
});
