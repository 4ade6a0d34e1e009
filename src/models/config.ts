/** Owns what a decoder's config says, and its reading and writing as Hugging Face's config.json. */

import { z } from 'zod';
import { ReckonError } from '../util/errors.ts';

/** The shape of a decoder. */
export interface ModelConfig {
  readonly modelType: 'qwen2';
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  readonly heads: number;
  readonly keyValueHeads: number;
  readonly headDim: number;
  readonly intermediateSize: number;
  readonly tieEmbeddings: boolean;
  readonly maxPositions: number;
  readonly ropeTheta: number;
  readonly rmsEps: number;
  readonly initializerRange: number;
  readonly bosTokenId: number | null;
  readonly eosTokenIds: readonly number[];
  readonly padTokenId: number | null;
}

const tokenId = z.number().int().nullish();

const fileSchema = z.looseObject({
  model_type: z.literal('qwen2'),
  vocab_size: z.number().int().positive(),
  hidden_size: z.number().int().positive(),
  num_hidden_layers: z.number().int().positive(),
  num_attention_heads: z.number().int().positive(),
  num_key_value_heads: z.number().int().positive(),
  head_dim: z.number().int().positive().optional(),
  intermediate_size: z.number().int().positive(),
  hidden_act: z.literal('silu').default('silu'),
  tie_word_embeddings: z.boolean().default(false),
  max_position_embeddings: z.number().int().positive(),
  rope_theta: z.number().positive().optional(),
  rope_parameters: z
    .looseObject({ rope_theta: z.number().positive(), rope_type: z.literal('default').optional() })
    .optional(),
  rope_scaling: z.null().optional(),
  quantization_config: z.null().optional(),
  use_sliding_window: z.literal(false).optional(),
  layer_types: z.array(z.literal('full_attention')).nullish(),
  rms_norm_eps: z.number().positive(),
  initializer_range: z.number().positive().default(0.02),
  bos_token_id: tokenId,
  eos_token_id: z.union([tokenId, z.array(z.number().int())]),
  pad_token_id: tokenId,
});

/** Reads config.json; a field that would change the result and is not supported is an error that names it. */
export function parseConfig(json: unknown, source: string): ModelConfig {
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new ReckonError(
      'data',
      'unsupported-config',
      `${source}: field '${issue!.path.join('.')}' is not supported as it stands: ${issue!.message}`,
    );
  }
  const file = parsed.data;
  const eos = file.eos_token_id;
  const headDim = file.head_dim ?? file.hidden_size / file.num_attention_heads;
  if (file.num_attention_heads % file.num_key_value_heads !== 0 || headDim % 2 !== 0) {
    throw new ReckonError(
      'data',
      'unsupported-config',
      `${source}: num_attention_heads ${file.num_attention_heads} must be a multiple of num_key_value_heads ${file.num_key_value_heads}, and a head's size even, found ${headDim}`,
    );
  }
  return {
    modelType: 'qwen2',
    vocabSize: file.vocab_size,
    hiddenSize: file.hidden_size,
    layers: file.num_hidden_layers,
    heads: file.num_attention_heads,
    keyValueHeads: file.num_key_value_heads,
    headDim,
    intermediateSize: file.intermediate_size,
    tieEmbeddings: file.tie_word_embeddings,
    maxPositions: file.max_position_embeddings,
    ropeTheta: file.rope_parameters?.rope_theta ?? file.rope_theta ?? 10_000,
    rmsEps: file.rms_norm_eps,
    initializerRange: file.initializer_range,
    bosTokenId: file.bos_token_id ?? null,
    eosTokenIds: Array.isArray(eos) ? eos : typeof eos === 'number' ? [eos] : [],
    padTokenId: file.pad_token_id ?? null,
  };
}

/** The config.json that transformers 4 and 5 read; `dtype` is that of the weights beside it. */
export function configToJson(config: ModelConfig, dtype: string): Record<string, unknown> {
  const [firstEos] = config.eosTokenIds;
  return {
    architectures: ['Qwen2ForCausalLM'],
    model_type: config.modelType,
    vocab_size: config.vocabSize,
    hidden_size: config.hiddenSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    ...(config.headDim * config.heads === config.hiddenSize ? {} : { head_dim: config.headDim }),
    intermediate_size: config.intermediateSize,
    hidden_act: 'silu',
    tie_word_embeddings: config.tieEmbeddings,
    max_position_embeddings: config.maxPositions,
    rope_theta: config.ropeTheta,
    rope_parameters: { rope_type: 'default', rope_theta: config.ropeTheta },
    rms_norm_eps: config.rmsEps,
    initializer_range: config.initializerRange,
    use_sliding_window: false,
    attention_dropout: 0,
    use_cache: true,
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenIds.length > 1 ? config.eosTokenIds : (firstEos ?? null),
    pad_token_id: config.padTokenId,
    torch_dtype: dtype,
    dtype,
  };
}
