/**
 * Owns the measuring of decoding with matrices in 8 bit beside bf16: Qwen2.5-0.5B's shape with random weights, both by
 * turns on the same machine, and what making such a copy costs.
 */

import { type GenerationRequest, generate } from '../src/generate/index.ts';
import { Decoder, initialWeights, type WeightFormat } from '../src/models/index.ts';
import { scope } from '../src/torch/index.ts';
import { type Measurement, summarised } from './measure.ts';
import { tokenizerOf } from './our-steps.ts';
import { models, promptIds, tinyModels } from './works.ts';

const tiny = process.env['RECKON_BENCH_TINY'] === '1';
const config = (tiny ? tinyModels : models).half;
const tokenizer = tokenizerOf(config.vocabSize);
const [promptLength, newTokens] = tiny ? [8, 4] : [128, 64];
const formats = ['full', 'int8'] as const satisfies readonly WeightFormat[];

/** Seconds to make each copy, and tokens a second of 64 new ones (and of 2, to take the prefill out) at batch 1 and 16. */
export async function benchInt8(repeats: number): Promise<Measurement[]> {
  using policy = scope(
    () =>
      new Decoder(
        config,
        new Map([...initialWeights(config, 1)].map(([name, value]) => [name, value.to('bf16')])),
        'bf16',
      ),
  );
  const rows: Measurement[] = [];
  const copies: Record<WeightFormat, number[]> = { full: [], int8: [] };
  for (let i = 0; i < repeats; i++)
    for (const format of formats) {
      const started = performance.now();
      policy.snapshot(format)[Symbol.dispose]();
      copies[format].push((performance.now() - started) / 1000);
    }
  for (const format of formats) rows.push(summarised(`copy for sampling, ${format}`, copies[format], 's'));
  using full = policy.snapshot('full');
  using int8 = policy.snapshot('int8');
  for (const batch of [1, 16]) {
    const seconds: Record<WeightFormat, number[]> = { full: [], int8: [] };
    for (let step = 0; step <= repeats; step++)
      for (const [format, model] of [['full', full] as const, ['int8', int8] as const]) {
        const decoding = (await took(model, batch, newTokens, step)) - (await took(model, batch, 2, step));
        if (step > 0) seconds[format].push(decoding / (newTokens - 2)); // the first warms up
      }
    for (const format of formats) {
      const name = `a step of decoding, 0.5 B, batch ${batch}, ${format}`;
      rows.push(
        summarised(
          name,
          seconds[format].map((one) => 1000 * one),
          'ms',
        ),
      );
    }
    const ratios = seconds.full.map((one, i) => one / seconds.int8[i]!);
    rows.push(summarised('  bf16 over int8', ratios, 'x'));
  }
  return rows;
}

async function took(model: Decoder, batch: number, maxNewTokens: number, step: number): Promise<number> {
  const requests: GenerationRequest[] = Array.from({ length: batch }, (_, i) => ({
    problemId: `p${i}`,
    promptIds: promptIds(i, promptLength),
    samples: 1,
  }));
  const options = { temperature: 1, topP: 1, maxNewTokens, stopIds: [], seed: 1, step };
  const started = performance.now();
  await generate(model, tokenizer, requests, options);
  return (performance.now() - started) / 1000;
}
