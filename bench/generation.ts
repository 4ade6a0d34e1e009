/**
 * Owns the measuring of generation: ours, and transformers' `generate` beside it where a Python that has it is found, on
 * the same shapes with random weights, one after the other and again, so that both meet the same machine.
 */

import { type GenerationRequest, generate } from '../src/generate/index.ts';
import { Decoder, initialWeights, type ModelConfig, qwen2Traits } from '../src/models/index.ts';
import { characterTokenizer } from '../src/text/index.ts';
import { type DType, scope, threads } from '../src/torch/index.ts';
import { type Measurement, summarised } from './measure.ts';
import { Peer } from './peer.ts';

/** The shape of Qwen2.5-0.5B. */
export const half: ModelConfig = {
  ...qwen2Traits,
  vocabSize: 151_936,
  hiddenSize: 896,
  layers: 24,
  heads: 14,
  keyValueHeads: 2,
  headDim: 64,
  intermediateSize: 4864,
  tieEmbeddings: true,
  maxPositions: 4096,
  ropeTheta: 1e6,
  rmsEps: 1e-6,
  initializerRange: 0.02,
  bosTokenId: 1,
  eosTokenIds: [2],
  padTokenId: 0,
};

/** 5.1 million parameters. */
export const small: ModelConfig = {
  ...half,
  vocabSize: 256,
  hiddenSize: 256,
  layers: 6,
  heads: 8,
  keyValueHeads: 4,
  headDim: 32,
  intermediateSize: 832,
};

/** One row of the table: how many sequences, and how long each becomes. */
export interface Work {
  readonly name: string;
  readonly config: ModelConfig;
  readonly prompt: number;
  /** New tokens of each sequence. */
  readonly lengths: readonly number[];
  /** Samples of one prompt; 1 where every prompt is another. */
  readonly group: number;
}

const equal = (count: number, length: number) => new Array<number>(count).fill(length);

export const works: Readonly<Record<string, Work>> = {
  'half-1': { name: '0.5 B, batch 1', config: half, prompt: 128, lengths: equal(1, 64), group: 1 },
  'half-16': { name: '0.5 B, batch 16', config: half, prompt: 128, lengths: equal(16, 64), group: 1 },
  'half-16-groups': {
    name: '0.5 B, batch 16, groups of 8',
    config: half,
    prompt: 128,
    lengths: equal(16, 64),
    group: 8,
  },
  'half-64': { name: '0.5 B, batch 64', config: half, prompt: 128, lengths: equal(64, 64), group: 1 },
  'half-spread': {
    name: '0.5 B, 16 lengths from 16 to 256',
    config: half,
    prompt: 128,
    lengths: Array.from({ length: 16 }, (_, i) => 16 * (i + 1)),
    group: 1,
  },
  'small-64': { name: '5 M, batch 64', config: small, prompt: 16, lengths: equal(64, 128), group: 1 },
};

/** Seconds of a call on both sides by turns, and the ratios of neighbours. Without a peer only ours is measured. */
export async function benchGeneration(
  names: readonly string[],
  repeats: number,
  dtype: DType = 'bf16',
): Promise<Measurement[]> {
  await using peer = await Peer.find();
  const rows: Measurement[] = [];
  for (const name of names) rows.push(...(await measured(works[name]!, repeats, dtype, peer)));
  return rows;
}

async function measured(
  work: Work,
  repeats: number,
  dtype: DType,
  peer: Peer | null,
): Promise<Measurement[]> {
  using model = scope(() => {
    const weights = new Decoder(work.config, initialWeights(work.config, 1), dtype);
    const snapshot = weights.snapshot();
    weights[Symbol.dispose]();
    return snapshot;
  });
  const characters = Array.from({ length: work.config.vocabSize + 3000 }, (_, i) => i + 0x100)
    .filter((point) => point < 0xd800 || point > 0xdfff)
    .slice(0, work.config.vocabSize - 3);
  const tokenizer = characterTokenizer(characters.map((point) => String.fromCodePoint(point)));
  const requests: GenerationRequest[] = [];
  for (let i = 0; i < work.lengths.length; i += work.group) {
    const promptIds = Array.from({ length: work.prompt }, (_, j) => 5 + ((i * 31 + j * 7) % 200));
    const maxNewTokens = work.lengths[i]!;
    requests.push({ problemId: `p${i}`, promptIds, samples: work.group, maxNewTokens });
  }
  const maxNewTokens = Math.max(...work.lengths);
  const ours: number[] = [];
  const theirs: number[] = [];
  for (let step = 0; step <= repeats; step++) {
    const started = performance.now();
    await generate(model, tokenizer, requests, {
      temperature: 1,
      topP: 1,
      maxNewTokens,
      stopIds: [],
      seed: 1,
      step,
    });
    const seconds = (performance.now() - started) / 1000;
    const other = await peer?.generate(work, dtype, threads());
    if (step === 0) continue; // both warm up
    ours.push(seconds);
    if (other !== undefined) theirs.push(other);
  }
  const tokens = work.lengths.reduce((a, b) => a + b, 0);
  const rows = [
    summarised(
      `generate: ${work.name}, ${dtype}`,
      ours.map((seconds) => tokens / seconds),
      'tok/s',
    ),
  ];
  if (theirs.length === 0) return rows;
  const ratios = theirs.map((seconds, i) => seconds / ours[i]!);
  return [
    ...rows,
    summarised(
      '  transformers',
      theirs.map((seconds) => tokens / seconds),
      'tok/s',
    ),
    summarised('  ratio', ratios, 'x'),
  ];
}
