/** Owns what a decoder's config says, and its reading and writing as Hugging Face's config.json. */

import { z } from 'zod';
import { ReckonError } from '../util/errors.ts';

/** Rescaled rotary frequencies of Llama 3.1 and later: long wavelengths are stretched by `factor`. */
export interface RopeScaling {
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  readonly originalMaxPositions: number;
}

/** The shape of a decoder; what tells Qwen2, Qwen3 and Llama 3 apart is data here. */
export interface ModelConfig {
  readonly modelType: ModelType;
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  /** Biases of the query, key and value projections (Qwen2). */
  readonly projectionBias: boolean;
  /** A bias of the attention's output projection. */
  readonly outputBias: boolean;
  /** RMSNorm of each query and key head before the rotation (Qwen3). */
  readonly headNorms: boolean;
  readonly tieEmbeddings: boolean;
  readonly maxPositions: number;
  readonly ropeTheta: number;
  readonly ropeScaling: RopeScaling | null;
  readonly rmsEps: number;
  readonly initializerRange: number;
  readonly bosTokenId: number | null;
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | null;
}

/** What places without a token hold: the pad id, or 0 where that has no row in the embedding (-1, or beyond it). */
export function padIdOf({ config }: { readonly config: ModelConfig }): number {
  const id = config.padTokenId ?? 0;
  return id >= 0 && id < config.vocabSize ? id : 0;
}

/** What a model of the Qwen2 architecture has and has not. */
export const qwen2Traits: Pick<
  ModelConfig,
  'modelType' | 'projectionBias' | 'outputBias' | 'headNorms' | 'ropeScaling'
> = { modelType: 'qwen2', projectionBias: true, outputBias: false, headNorms: false, ropeScaling: null };

/** `model_type` of the architectures that are known. */
export type ModelType = 'qwen2' | 'qwen3' | 'llama';

const architectures: Readonly<Record<ModelType, string>> = {
  qwen2: 'Qwen2ForCausalLM',
  qwen3: 'Qwen3ForCausalLM',
  llama: 'LlamaForCausalLM',
};

const positive = z.number().int().positive();
const tokenId = z.number().int().nullish();
const ropeType = z.enum(['default', 'llama3']);
const ropeSchema = z.strictObject({
  rope_type: ropeType.optional(),
  type: ropeType.optional(),
  rope_theta: z.number().positive().optional(),
  factor: z.number().positive().optional(),
  low_freq_factor: z.number().positive().optional(),
  high_freq_factor: z.number().positive().optional(),
  original_max_position_embeddings: positive.optional(),
  partial_rotary_factor: z.literal(1).optional(),
});

/** Fields that would change the result stand here with the only values that are computed. */
const fileSchema = z.looseObject({
  model_type: z.enum(['qwen2', 'qwen3', 'llama']),
  vocab_size: positive,
  hidden_size: positive,
  num_hidden_layers: positive,
  num_attention_heads: positive,
  num_key_value_heads: positive.nullish(),
  head_dim: positive.nullish(),
  intermediate_size: positive,
  hidden_act: z.literal('silu').default('silu'),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.literal(false).nullish(),
  tie_word_embeddings: z.boolean().default(false),
  max_position_embeddings: positive,
  rope_theta: z.number().positive().nullish(),
  rope_parameters: ropeSchema.nullish(),
  rope_scaling: ropeSchema.nullish(),
  partial_rotary_factor: z.literal(1).nullish(),
  quantization_config: z.null().optional(),
  use_sliding_window: z.boolean().nullish(),
  sliding_window: z.number().nullish(),
  max_window_layers: z.number().nullish(),
  layer_types: z.array(z.literal('full_attention')).nullish(),
  rms_norm_eps: z.number().positive().default(1e-6),
  initializer_range: z.number().positive().default(0.02),
  bos_token_id: tokenId,
  eos_token_id: z.union([tokenId, z.array(z.number().int())]),
  pad_token_id: tokenId,
});

type ConfigFile = z.output<typeof fileSchema>;

/** Reads config.json; a field that would change the result and is not supported is an error that names it. */
export function parseConfig(json: unknown, source: string): ModelConfig {
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw unsupported(
      source,
      `field '${issue!.path.join('.')}' is not supported as it stands: ${issue!.message}`,
    );
  }
  const file = parsed.data;
  refuseSlidingWindow(file, source);
  const heads = file.num_attention_heads;
  const keyValueHeads = file.num_key_value_heads ?? heads;
  const headDim = file.head_dim ?? (file.model_type === 'qwen3' ? 128 : file.hidden_size / heads);
  if (heads % keyValueHeads !== 0 || headDim % 2 !== 0) {
    throw unsupported(
      source,
      `num_attention_heads ${heads} must be a multiple of num_key_value_heads ${keyValueHeads}, and a head's size even, found ${headDim}`,
    );
  }
  const eos = file.eos_token_id;
  const rope = file.rope_parameters ?? file.rope_scaling ?? {};
  return {
    modelType: file.model_type,
    vocabSize: file.vocab_size,
    hiddenSize: file.hidden_size,
    layers: file.num_hidden_layers,
    heads,
    keyValueHeads,
    headDim,
    intermediateSize: file.intermediate_size,
    projectionBias: file.model_type === 'qwen2' || file.attention_bias === true,
    outputBias: file.model_type !== 'qwen2' && file.attention_bias === true,
    headNorms: file.model_type === 'qwen3',
    tieEmbeddings: file.tie_word_embeddings,
    maxPositions: file.max_position_embeddings,
    ropeTheta: rope.rope_theta ?? file.rope_theta ?? 10_000,
    ropeScaling: scalingOf(rope, source),
    rmsEps: file.rms_norm_eps,
    initializerRange: file.initializer_range,
    bosTokenId: file.bos_token_id ?? null,
    eosTokenIds: Array.isArray(eos) ? eos : typeof eos === 'number' ? [eos] : [],
    padTokenId: file.pad_token_id ?? null,
  };
}

/** A window that is set but not used, or that no layer of this model reaches, changes nothing. */
function refuseSlidingWindow(file: ConfigFile, source: string): void {
  // Left out, transformers takes a window of 4096; only null means none.
  if (file.use_sliding_window !== true || file.sliding_window === null) return;
  if (file.layer_types || (file.max_window_layers ?? 0) >= file.num_hidden_layers) return;
  throw unsupported(
    source,
    `field 'use_sliding_window' is true with sliding_window ${file.sliding_window ?? 'left out (4096)'}: attention over a sliding window is not supported`,
  );
}

function scalingOf(rope: z.output<typeof ropeSchema>, source: string): RopeScaling | null {
  if ((rope.rope_type ?? rope.type ?? 'default') === 'default') return null;
  const { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } = rope;
  if (!factor || !low_freq_factor || !high_freq_factor || !original_max_position_embeddings) {
    throw unsupported(
      source,
      "rope type 'llama3' needs factor, low_freq_factor, high_freq_factor and original_max_position_embeddings",
    );
  }
  return {
    factor,
    lowFrequencyFactor: low_freq_factor,
    highFrequencyFactor: high_freq_factor,
    originalMaxPositions: original_max_position_embeddings,
  };
}

function unsupported(source: string, what: string): ReckonError {
  return new ReckonError('data', 'unsupported-config', `${source}: ${what}`);
}

/** The config.json that transformers 4 and 5 read; `dtype` is that of the weights beside it. */
export function configToJson(config: ModelConfig, dtype: string): Record<string, unknown> {
  const [firstEos] = config.eosTokenIds;
  const scaling = config.ropeScaling && {
    rope_type: 'llama3',
    factor: config.ropeScaling.factor,
    low_freq_factor: config.ropeScaling.lowFrequencyFactor,
    high_freq_factor: config.ropeScaling.highFrequencyFactor,
    original_max_position_embeddings: config.ropeScaling.originalMaxPositions,
  };
  const impliedHeadDim = config.modelType !== 'qwen3' && config.headDim * config.heads === config.hiddenSize;
  return {
    architectures: [architectures[config.modelType]],
    model_type: config.modelType,
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    ...(impliedHeadDim ? {} : { head_dim: config.headDim }),
    intermediate_size: config.intermediateSize,
    hidden_act: 'silu',
    ...(config.modelType === 'qwen2' ? {} : { attention_bias: config.projectionBias }),
    ...(config.modelType === 'llama' ? { mlp_bias: false } : { use_sliding_window: false }),
    tie_word_embeddings: config.tieEmbeddings,
    max_position_embeddings: config.maxPositions,
    rope_theta: config.ropeTheta,
    ...(scaling ? { rope_scaling: scaling } : {}),
    rope_parameters: { rope_type: 'default', rope_theta: config.ropeTheta, ...scaling },
    rms_norm_eps: config.rmsEps,
    initializer_range: config.initializerRange,
    attention_dropout: 0,
    use_cache: true,
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenIds.length > 1 ? config.eosTokenIds : (firstEos ?? null),
    pad_token_id: config.padTokenId,
    torch_dtype: dtype,
    dtype,
  };
}
