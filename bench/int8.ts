/**
 * Owns the measuring of decoding with matrices in 8 bit beside bf16: Qwen2.5-0.5B's shape with random weights, both by
 * turns on the same machine, and what making such a copy costs. RECKON_BENCH_TINY=1 makes it small enough for a trial.
 */

import { type GenerationRequest, generate } from '../src/generate/index.ts';
import {
  Decoder,
  initialWeights,
  type ModelConfig,
  qwen2Traits,
  type WeightFormat,
} from '../src/models/index.ts';
import { characterTokenizer } from '../src/text/index.ts';
import { scope } from '../src/torch/index.ts';
import { type Measurement, summarised } from './measure.ts';

const tiny = process.env['RECKON_BENCH_TINY'] === '1';

const config: ModelConfig = {
  ...qwen2Traits,
  vocabSize: tiny ? 4096 : 151_936,
  hiddenSize: tiny ? 128 : 896,
  layers: tiny ? 2 : 24,
  heads: tiny ? 2 : 14,
  keyValueHeads: tiny ? 1 : 2,
  headDim: 64,
  intermediateSize: tiny ? 256 : 4864,
  tieEmbeddings: true,
  maxPositions: 4096,
  ropeTheta: 1e6,
  rmsEps: 1e-6,
  initializerRange: 0.02,
  bosTokenId: 1,
  eosTokenIds: [2],
  padTokenId: 0,
};
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
    promptIds: Array.from({ length: promptLength }, (_, j) => 5 + ((i * 31 + j * 7) % 200)),
    samples: 1,
  }));
  const options = { temperature: 1, topP: 1, maxNewTokens, stopIds: [], seed: 1, step };
  const started = performance.now();
  await generate(model, tokenizer, requests, options);
  return (performance.now() - started) / 1000;
}

/** Ids become characters that are never looked at: enough of them that each has one. */
const tokenizer = characterTokenizer(
  Array.from({ length: config.vocabSize + 3000 }, (_, i) => i + 0x100)
    .filter((point) => point < 0xd800 || point > 0xdfff)
    .slice(0, config.vocabSize - 3)
    .map((point) => String.fromCodePoint(point)),
);
