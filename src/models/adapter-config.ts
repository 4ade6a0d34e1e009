/** Owns what an adapter's config says, and its reading and writing as PEFT's adapter_config.json. */

import { z } from 'zod';
import { ReckonError } from '../util/errors.ts';

/** A low-rank adapter: LoRA, rsLoRA (Kalajdzievski 2023) or DoRA (Liu et al. 2024). */
export interface AdapterConfig {
  readonly rank: number;
  readonly alpha: number;
  /** The update is scaled with alpha / sqrt(rank) instead of alpha / rank. */
  readonly rslora: boolean;
  readonly dora: boolean;
  /** Share of the update's inputs that is left out in supervised training. */
  readonly dropout: number;
  /** Names that module paths end with, a regular expression for whole paths, or `all-linear`. */
  readonly targetModules: string | readonly string[];
  readonly excludeModules: string | readonly string[];
  /** Modules (by the end of their path) that are trained and stored whole. */
  readonly modulesToSave: readonly string[];
  /** Layers that named targets are limited to; null for all. */
  readonly layersToTransform: readonly number[] | null;
  /** What stands before a layer's number in a path; any name where empty. */
  readonly layersPattern: readonly string[];
  /** Other ranks and alphas by a pattern for the end of a path; the first that matches counts. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  readonly init: 'default' | 'gaussian';
  /** The model folder or hub id that the adapter was trained on, as its file says. */
  readonly base: string | null;
  readonly revision: string | null;
}

/** What a config says where nothing is chosen, as in PEFT. */
export const adapterDefaults: AdapterConfig = {
  rank: 8,
  alpha: 8,
  rslora: false,
  dora: false,
  dropout: 0,
  targetModules: 'all-linear',
  excludeModules: [],
  modulesToSave: [],
  layersToTransform: null,
  layersPattern: [],
  rankPattern: {},
  alphaPattern: {},
  init: 'default',
  base: null,
  revision: null,
};

const names = z.union([z.string(), z.array(z.string())]);
const count = z.number().int().positive();
const listOf = <T extends z.ZodType>(item: T) =>
  z.union([item.transform((one) => [one]), z.array(item)]).nullish();

const fileSchema = z.looseObject({
  peft_type: z.literal('LORA'),
  task_type: z.literal('CAUSAL_LM').nullish(),
  r: count.default(8),
  lora_alpha: z.number().default(8),
  lora_dropout: z.number().min(0).lt(1).default(0),
  use_rslora: z.boolean().default(false),
  use_dora: z.boolean().default(false),
  target_modules: names,
  exclude_modules: names.nullish(),
  modules_to_save: z.array(z.string()).nullish(),
  layers_to_transform: listOf(z.number().int().nonnegative()),
  layers_pattern: listOf(z.string()),
  rank_pattern: z.record(z.string(), count).nullish(),
  alpha_pattern: z.record(z.string(), z.number()).nullish(),
  // The others change the base's weights when the adapter is made, so the stored update fits no plain base.
  init_lora_weights: z.union([z.boolean(), z.enum(['gaussian', 'eva', 'orthogonal'])]).default(true),
  bias: z.literal('none').default('none'),
  base_model_name_or_path: z.string().nullish(),
  revision: z.string().nullish(),
});

/** Fields that do not change what a finished adapter computes. */
const harmless = new Set([
  'auto_mapping',
  'corda_config',
  'eva_config',
  'inference_mode',
  'loftq_config',
  'lora_ga_config',
  'megatron_core',
  'peft_version',
  'qalora_group_size',
  'runtime_config',
]);

/** Reads adapter_config.json; a field that would change the result and is not supported is an error that names it. */
export function parseAdapterConfig(json: unknown, source: string): AdapterConfig {
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw refused(source, issue!.path.join('.'), issue!.message);
  }
  const file = parsed.data;
  for (const [field, value] of Object.entries(file)) {
    if (Object.hasOwn(fileSchema.shape, field) || harmless.has(field) || isUnset(value)) continue;
    throw refused(source, field, `${JSON.stringify(value)} would change the result`);
  }
  const byName = typeof file.target_modules !== 'string';
  for (const field of ['layers_to_transform', 'layers_pattern'] as const) {
    if (!byName && file[field]) throw refused(source, field, 'it goes with a list of target_modules only');
  }
  return {
    rank: file.r,
    alpha: file.lora_alpha,
    rslora: file.use_rslora,
    dora: file.use_dora,
    dropout: file.lora_dropout,
    targetModules: file.target_modules,
    excludeModules: file.exclude_modules ?? [],
    modulesToSave: file.modules_to_save ?? [],
    layersToTransform: file.layers_to_transform?.length ? file.layers_to_transform : null,
    layersPattern: file.layers_pattern?.filter((pattern) => pattern !== '') ?? [],
    rankPattern: file.rank_pattern ?? {},
    alphaPattern: file.alpha_pattern ?? {},
    init: file.init_lora_weights === 'gaussian' ? 'gaussian' : 'default',
    base: file.base_model_name_or_path ?? null,
    revision: file.revision ?? null,
  };
}

/** The adapter_config.json that PEFT reads; `targets` are the layers that `all-linear` came to, as PEFT writes them. */
export function adapterConfigToJson(
  config: AdapterConfig,
  targets: readonly string[],
): Record<string, unknown> {
  const isAll = isAllLinear(config.targetModules);
  return {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    auto_mapping: null,
    base_model_name_or_path: config.base,
    revision: config.revision,
    inference_mode: true,
    r: config.rank,
    lora_alpha: config.alpha,
    lora_dropout: config.dropout,
    use_rslora: config.rslora,
    use_dora: config.dora,
    target_modules: isAll ? [...targets].sort() : config.targetModules,
    exclude_modules: config.excludeModules.length > 0 ? config.excludeModules : null,
    modules_to_save: config.modulesToSave.length > 0 ? config.modulesToSave : null,
    layers_to_transform: config.layersToTransform,
    layers_pattern: config.layersPattern.length > 0 ? config.layersPattern : null,
    rank_pattern: config.rankPattern,
    alpha_pattern: config.alphaPattern,
    init_lora_weights: config.init === 'gaussian' ? 'gaussian' : true,
    bias: 'none',
    fan_in_fan_out: false,
    layer_replication: null,
    loftq_config: {},
    megatron_config: null,
    megatron_core: 'megatron.core',
  };
}

/** Whether target_modules is PEFT's word for every linear layer but the output head. */
export function isAllLinear(targetModules: string | readonly string[]): boolean {
  return typeof targetModules === 'string' && targetModules.toLowerCase() === 'all-linear';
}

function isUnset(value: unknown): boolean {
  if (value === null || value === undefined || value === false || value === '') return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function refused(source: string, field: string, why: string): ReckonError {
  return new ReckonError(
    'data',
    'unsupported-adapter',
    `${source}: field '${field}' is not supported as it stands: ${why}`,
  );
}
