/** Owns what both sides of a comparison are asked to do: shapes, lengths, batch sizes. Knows no library and no clock. */

import { type ModelConfig, qwen2Traits } from '../src/models/config.ts';

export type ModelName = 'half' | 'small';

/** Sampling with forced lengths: nothing ends before its length. */
export interface GenerateWork {
  readonly kind: 'generate';
  readonly model: ModelName;
  /** Tokens of each prompt. */
  readonly prompt: number;
  /** New tokens of each sequence. */
  readonly lengths: readonly number[];
  /** Samples of one prompt; 1 where every prompt is another. */
  readonly group: number;
  /** LoRA of rank 16 on all linear layers, beside the weights and not merged. */
  readonly adapter: boolean;
}

/** One step of GRPO: sampling, advantages, gradient, clipping, AdamW; no reference model. */
export interface GrpoWork {
  readonly kind: 'grpo';
  readonly model: ModelName;
  readonly prompts: number;
  readonly group: number;
  readonly prompt: number;
  readonly newTokens: number;
  /** LoRA of rank 16 on all linear layers of a bf16 base; else all weights, f32 masters. */
  readonly adapter: boolean;
  /** Sequences in one forward pass of the update. */
  readonly microBatch: number;
  readonly checkpointing: boolean;
}

/** One supervised step of LoRA, rank 16 on all linear layers; every token is learned. */
export interface SftWork {
  readonly kind: 'sft';
  readonly model: ModelName;
  readonly rows: number;
  readonly length: number;
}

/** What the machine itself can do. */
export interface LimitsWork {
  readonly kind: 'limits';
  /** Side of the square matrices, and bytes that are read. */
  readonly size: number;
  readonly bytes: number;
}

export type Work = GenerateWork | GrpoWork | SftWork | LimitsWork;

/** The shape of Qwen2.5-0.5B, and one of 5.1 million parameters. */
export const models: Readonly<Record<ModelName, ModelConfig>> = shapes({
  vocabSize: 151_936,
  hiddenSize: 896,
  layers: 24,
  heads: 14,
  keyValueHeads: 2,
  headDim: 64,
  intermediateSize: 4864,
});

/** The same with next to nothing in them, to see that everything runs (RECKON_BENCH_TINY=1). */
export const tinyModels: Readonly<Record<ModelName, ModelConfig>> = shapes({
  vocabSize: 512,
  hiddenSize: 128,
  layers: 2,
  heads: 2,
  keyValueHeads: 2,
  headDim: 64,
  intermediateSize: 256,
});

type Sizes = Pick<
  ModelConfig,
  'vocabSize' | 'hiddenSize' | 'layers' | 'heads' | 'keyValueHeads' | 'headDim' | 'intermediateSize'
>;

function shapes(sizes: Sizes): Record<ModelName, ModelConfig> {
  const half: ModelConfig = {
    ...qwen2Traits,
    ...sizes,
    tieEmbeddings: true,
    maxPositions: 4096,
    ropeTheta: 1e6,
    rmsEps: 1e-6,
    initializerRange: 0.02,
    bosTokenId: 1,
    eosTokenIds: [2],
    padTokenId: 0,
  };
  const small = {
    ...half,
    vocabSize: 256,
    hiddenSize: Math.min(256, sizes.hiddenSize),
    layers: Math.min(6, sizes.layers),
    heads: Math.min(8, sizes.heads),
    keyValueHeads: Math.min(4, sizes.keyValueHeads),
    headDim: 32,
    intermediateSize: Math.min(832, sizes.intermediateSize),
  };
  return { half, small };
}

/** The dtype that a model's weights are stored in: what both sides read. */
export const storedDtype: Readonly<Record<ModelName, 'bf16' | 'f32'>> = { half: 'bf16', small: 'f32' };

/** The ids of prompt number `i`, all of them in every vocabulary here. */
export function promptIds(i: number, length: number): number[] {
  return Array.from({ length }, (_, j) => 5 + ((i * 31 + j * 7) % 200));
}

/** A work of the same kind that takes no time. */
export function tiny(work: Work): Work {
  const short = (length: number) => Math.max(2, Math.ceil(length / 16));
  switch (work.kind) {
    case 'generate':
      return { ...work, prompt: short(work.prompt), lengths: work.lengths.map(short) };
    case 'grpo':
      return { ...work, prompt: short(work.prompt), newTokens: short(work.newTokens) };
    case 'sft':
      return { ...work, length: short(work.length) };
    case 'limits':
      return { ...work, size: 256, bytes: 2 ** 22 };
  }
}

/** Tokens that count: sampled, or learned from. */
export function tokensOf(work: Work): number {
  if (work.kind === 'generate') return work.lengths.reduce((a, b) => a + b, 0);
  if (work.kind === 'grpo') return work.prompts * work.group * work.newTokens;
  return work.kind === 'sft' ? work.rows * work.length : 0;
}

/** Bytes of weights that one decoding step reads: the matrices of all layers and the head, once each. */
export function weightBytes(config: ModelConfig, bytesPerWeight: number): number {
  const { hiddenSize: d, heads, keyValueHeads, headDim, intermediateSize, layers, vocabSize } = config;
  const attention = d * (2 * heads + 2 * keyValueHeads) * headDim;
  return (layers * (attention + 3 * d * intermediateSize) + vocabSize * d) * bytesPerWeight;
}
