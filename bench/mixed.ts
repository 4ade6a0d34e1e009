/**
 * Owns the measuring of what mixed lengths cost: 64 sequences of the same tokens in all, equally long, spread, and most of
 * them short beside a few long ones, 16 at a time, so that slots are filled again as sequences end.
 */

import { type GenerationRequest, generate } from '../src/generate/index.ts';
import { Decoder, initialWeights } from '../src/models/index.ts';
import { characterTokenizer } from '../src/text/index.ts';
import { scope } from '../src/torch/index.ts';
import { type Measurement, summarised } from './measure.ts';
import { models, promptIds, tinyModels } from './works.ts';

const tiny = process.env['RECKON_BENCH_TINY'] === '1';
const [config, mean] = tiny ? [tinyModels.small, 8] : [models.small, 128];
const count = 64;

const mixes: Readonly<Record<string, readonly number[]>> = {
  equal: Array.from({ length: count }, () => mean),
  'spread evenly': Array.from({ length: count }, (_, i) => Math.max(1, Math.round((mean / 32) * (i + 0.5)))),
  'one in eight long': Array.from({ length: count }, (_, i) => (i % 8 === 0 ? 4.5 * mean : mean / 2)),
};

/** Tokens a second of each mix, by turns, and what they are of those of equal lengths. */
export async function benchMixed(repeats: number): Promise<Measurement[]> {
  using model = scope(() => {
    using weights = new Decoder(config, initialWeights(config, 1), 'bf16');
    return weights.snapshot();
  });
  const letters = Array.from({ length: config.vocabSize - 3 }, (_, i) => String.fromCodePoint(0x100 + i));
  const tokenizer = characterTokenizer(letters);
  const once = async (lengths: readonly number[], step: number): Promise<number> => {
    const requests: GenerationRequest[] = lengths.map((maxNewTokens, i) => ({
      problemId: `p${i}`,
      promptIds: promptIds(i, 16),
      samples: 1,
      maxNewTokens,
    }));
    const started = performance.now();
    await generate(model, tokenizer, requests, {
      temperature: 1,
      topP: 1,
      maxNewTokens: Math.max(...lengths),
      maxRows: 16,
      stopIds: [],
      seed: 1,
      step,
    });
    return (lengths.reduce((a, b) => a + b, 0) * 1000) / (performance.now() - started);
  };
  const speeds = Object.keys(mixes).map((): number[] => []);
  for (let step = 0; step <= repeats; step++)
    for (const [k, lengths] of Object.values(mixes).entries()) {
      const speed = await once(lengths, step);
      if (step > 0) speeds[k]!.push(speed);
    }
  return Object.keys(mixes).flatMap((name, k) => {
    const row = summarised(`5 M, 64 lengths, 16 at a time: ${name}`, speeds[k]!, 'tok/s');
    const shares = speeds[k]!.map((speed, i) => speed / speeds[0]![i]!);
    return k === 0 ? [row] : [row, summarised('  share of the speed at equal lengths', shares, 'x')];
  });
}
