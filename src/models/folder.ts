/** Owns a model as a folder in Hugging Face's format: config.json, model.safetensors, generation_config.json. */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { useAdapter } from '../nn/index.ts';
import { type DType, isFloating, type Tensor } from '../torch/index.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { isAdapterFolder, loadAdapter } from './adapter.ts';
import { adapterBase, mergedModel } from './adapter-merge.ts';
import { configToJson, type ModelConfig, parseConfig } from './config.ts';
import type { WeightFormat } from './copied-state.ts';
import { Decoder } from './decoder.ts';
import { readShards } from './shards.ts';
import { writeShards } from './write-shards.ts';

const longNames: Readonly<Partial<Record<DType, string>>> = {
  f32: 'float32',
  bf16: 'bfloat16',
  f16: 'float16',
};

/** Files of weights are at most this large, as transformers has it. */
const defaultShardBytes = 5e9;

/**
 * Writes config, generation config and weights (in their own dtype) into a folder, which is made if need be; weights
 * larger than `maxShardBytes` go into several files with an index.
 */
export function saveModel(
  model: Decoder,
  folder: string,
  { maxShardBytes = defaultShardBytes }: { readonly maxShardBytes?: number } = {},
): void {
  const { config } = model;
  const state = new Map(model.namedParameters());
  if (model.isOnlyPacked) {
    throw new ReckonError(
      'internal',
      'only-packed',
      `expected a model with its weights to write to ${folder}, found one that was laid out for decoding; write the model it was made from`,
    );
  }
  const rounded = [...state].find(([, value]) => !isFloating(value.dtype));
  if (rounded) {
    throw new ReckonError(
      'usage',
      'rounded-weights',
      `expected a model with its full weights to write to ${folder}, found '${rounded[0]}' rounded to 8 bit; write its adapter, or the model that it was rounded from`,
    );
  }
  const dtype = longNames[model.headWeight.dtype] ?? 'float32';
  const generation = {
    bos_token_id: config.bosTokenId,
    eos_token_id: config.eosTokenIds,
    pad_token_id: config.padTokenId,
  };
  mkdirSync(folder, { recursive: true });
  writeJson(join(folder, 'config.json'), configToJson(config, dtype));
  writeJson(join(folder, 'generation_config.json'), generation);
  writeShards(folder, state, maxShardBytes);
}

export interface LoadOptions {
  /** Of the weights kept: f32 masters for training. By default what the file has. */
  readonly dtype?: DType;
  /** Of the activations. */
  readonly computeDtype: DType;
  readonly device: string;
  /** Maps weights that stay as they are in the file; for models that are only read. Default false. */
  readonly map?: boolean;
}

/** Loads a model folder, or an adapter folder as its base with the adapter merged; the caller owns the model. */
export function loadModel(folder: string, options: LoadOptions): Decoder {
  if (isAdapterFolder(folder)) return loadMerged(folder, options);
  const config = readConfig(folder);
  const state = readShards(folder, options);
  try {
    return fitted(folder, config, state, options.computeDtype);
  } catch (error) {
    for (const value of state.values()) value.dispose();
    throw error;
  }
}

/** Where a model that is only read computes, and what its matrices are kept in: 'full' (the dtype) by default. */
export interface FrozenOptions {
  readonly dtype: DType;
  readonly device: string;
  readonly weights?: WeightFormat;
}

/**
 * Loads a model that is only read, in one dtype: bit for bit what `snapshot` makes of weights loaded in f32, without ever
 * holding those. Weights that have the dtype in the file are mapped. For `purpose` see there. The caller owns it.
 */
export function loadFrozen(
  folder: string,
  { dtype, device, weights = 'full' }: FrozenOptions,
  purpose: 'any' | 'decoding' = 'any',
): Decoder {
  if (isAdapterFolder(folder) || weights === 'int8') {
    const wide = isAdapterFolder(folder) ? ({ dtype: 'f32' } as const) : { map: true };
    using whole = loadModel(folder, { ...wide, computeDtype: dtype, device });
    return whole.snapshot(weights, purpose);
  }
  const model = loadModel(folder, { dtype, computeDtype: dtype, device, map: true });
  try {
    model.freeze(
      (prefix) => readShards(folder, { dtype: 'f32', device, only: (name) => name.startsWith(prefix) }),
      purpose,
    );
    return model;
  } catch (error) {
    model[Symbol.dispose]();
    throw error;
  }
}

function loadMerged(folder: string, options: LoadOptions): Decoder {
  using base = loadModel(adapterBase(folder), options);
  loadAdapter(base, 'merged', folder);
  useAdapter(base, 'merged');
  return mergedModel(base);
}

function fitted(
  folder: string,
  config: ModelConfig,
  state: ReadonlyMap<string, Tensor>,
  computeDtype: DType,
): Decoder {
  const whole = [...state].find(([, value]) => !isFloating(value.dtype));
  if (whole) {
    throw new ReckonError(
      'data',
      'wrong-dtype',
      `${folder}: tensor '${whole[0]}' must be floating-point, found ${whole[1].dtype}; quantized weights are not read`,
    );
  }
  const model = new Decoder(config, state, computeDtype);
  const used = new Set(model.stateDict().keys());
  const extra = [...state.keys()].filter((name) => !used.has(name));
  if (extra.length === 0 || (config.tieEmbeddings && extra.every((name) => name === 'lm_head.weight'))) {
    for (const name of extra) state.get(name)!.dispose();
    return model;
  }
  model[Symbol.dispose]();
  throw new ReckonError(
    'data',
    'extra-tensor',
    `${folder}: the checkpoint has tensors that its config knows nothing of, such as '${extra[0]}'`,
  );
}

/** Reads config.json of a model folder, or of an adapter folder's base. */
export function readConfig(folder: string): ModelConfig {
  const path = join(isAdapterFolder(folder) ? adapterBase(folder) : folder, 'config.json');
  if (!existsSync(path)) {
    const found = `expected a model folder with config.json, found none in ${dirname(path)}`;
    const what = 'give a checkpoint, a folder in Hugging Face format or a hub id';
    throw new ReckonError('data', 'bad-model-folder', `${found}; ${what}`);
  }
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ReckonError('data', 'bad-model-folder', `${path} cannot be read: ${messageOf(error)}`);
  }
  return parseConfig(json, path);
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(path, `${JSON.stringify(value, null, 2)}\n`);
}
