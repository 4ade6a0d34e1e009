/**
 * Owns an adapter as a folder in PEFT's format (adapter_config.json, adapter_model.safetensors), and a new one with
 * PEFT's initial values. Which layers it changes is decided elsewhere.
 */

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { isAbsolute, join, relative, resolve, sep } from 'node:path';
import {
  adapterParameters,
  Embedding,
  type Layer,
  type LayerAdapter,
  Linear,
  LowRank,
  layersOf,
  lowRankNames,
  type Module,
  normal,
  rowLengths,
  takeParameter,
  uniform,
} from '../nn/index.ts';
import { noGrad, scope, type Tensor, zeros } from '../torch/index.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { type AdapterConfig, adapterConfigToJson, parseAdapterConfig } from './adapter-config.ts';
import { type AdapterTargets, adapterTargets, type LowRankTarget } from './adapter-targets.ts';
import type { Decoder } from './decoder.ts';
import { readSafetensors, writeSafetensors } from './safetensors.ts';

const configFile = 'adapter_config.json';
const weightsFile = 'adapter_model.safetensors';
const prefix = 'base_model.model.';

/** Whether a folder holds an adapter. */
export function isAdapterFolder(folder: string): boolean {
  const has = (name: string) => existsSync(join(folder, name));
  return has(configFile) && !has('model.safetensors') && !has('model.safetensors.index.json');
}

/** Reads an adapter folder's config. */
export function readAdapterConfig(folder: string): AdapterConfig {
  const path = join(folder, configFile);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ReckonError('data', 'bad-adapter-folder', `${path} cannot be read: ${messageOf(error)}`);
  }
  return parseAdapterConfig(json, path);
}

/**
 * Gives the model the adapter of a folder under a name, in f32 whatever its file and the base have; not in use yet.
 * A tensor that is missing, has another shape or belongs to no target is an error.
 */
export function loadAdapter(model: Decoder, name: string, folder: string): AdapterConfig {
  const config = readAdapterConfig(folder);
  const path = join(folder, weightsFile);
  if (!existsSync(path)) {
    throw new ReckonError(
      'data',
      'bad-adapter-folder',
      `expected ${path}, which is not there; an adapter_model.bin must be saved as safetensors first`,
    );
  }
  scope(() => {
    const state = new Map([...readSafetensors(path)].map(([key, value]) => [plainName(key), value]));
    const targets = adapterTargets(model, config);
    const taken = new Set<string>();
    const take = (key: string, shape: readonly number[], like: Tensor) => {
      taken.add(key);
      return takeParameter(state, key, shape).to('f32', like.device);
    };
    attachAll(model, name, config, targets, {
      lowRank: (key, shape, layer) => take(key, shape, storedOf(layer)),
      whole: (key, base) => take(key, base.shape, base),
      finish: () => requireNoRest(model, path, state, taken),
    });
  });
  return config;
}

/**
 * Gives the model a new adapter under a name: `a` uniform as PEFT draws it (or normal with 1 / rank), `b` zero,
 * magnitudes the lengths of the base's rows, whole modules copies of the base's. It changes nothing before it is
 * trained; the numbers follow from the seed and each parameter's name.
 */
export function createAdapter(model: Decoder, name: string, config: AdapterConfig, seed: number): void {
  scope(() =>
    attachAll(model, name, config, adapterTargets(model, config), {
      lowRank: (key, shape, layer) =>
        initialValue(key, shape, config, seed, layer).to('f32', storedOf(layer).device),
      whole: (_, base) => base.detach().to('f32').clone(),
    }),
  );
}

/**
 * Writes an adapter of the model as PEFT does, into a folder that is made if need be. A base that is known by an
 * absolute path is named relative to the folder, so that both can be moved together.
 */
export function saveAdapter(model: Decoder, name: string, folder: string): void {
  const state = [...adapterParameters(model, name)].map(([key, value]) => [prefix + key, value] as const);
  const config = namedFrom(model.adapterConfigs.get(name)!, folder);
  const paths = adapterTargets(model, config).lowRank.map(({ path }) => path);
  mkdirSync(folder, { recursive: true });
  const json = JSON.stringify(adapterConfigToJson(config, paths), null, 2);
  writeFileSync(join(folder, configFile), `${json}\n`);
  writeSafetensors(join(folder, weightsFile), new Map(state));
}

function namedFrom(config: AdapterConfig, folder: string): AdapterConfig {
  const { base } = config;
  if (base === null || !isAbsolute(base)) return config;
  return { ...config, base: relative(resolve(folder), base).split(sep).join('/') };
}

/** Where an adapter's tensors come from. */
interface Source {
  lowRank(key: string, shape: readonly number[], layer: LowRankTarget['layer']): Tensor;
  whole(key: string, base: Tensor): Tensor;
  /** Called once everything was taken; may refuse what is left. */
  finish?(): void;
}

function attachAll(
  model: Decoder,
  name: string,
  config: AdapterConfig,
  targets: AdapterTargets,
  source: Source,
): void {
  const taken = [...layersOf(model)].find(([, layer]) => layer.adapter(name));
  if (taken) {
    throw new ReckonError('usage', 'adapter-exists', `the model has an adapter named '${name}' already`);
  }
  const made: [Layer, LayerAdapter][] = [];
  try {
    for (const target of targets.lowRank) {
      const lowRank = scope(() => makeLowRank(target, config, source));
      made.push([target.layer, { lowRank, replaced: new Map() }]);
    }
    for (const { path, layer } of targets.whole) {
      const replaced = [...layer.baseParameters()].map(
        ([own, base]) => [own, source.whole(`${path}.${own}`, base)] as const,
      );
      made.push([layer, { lowRank: null, replaced: new Map(replaced) }]);
    }
    source.finish?.();
  } catch (error) {
    for (const [, { lowRank }] of made) lowRank?.[Symbol.dispose]();
    throw error;
  }
  for (const [layer, adapter] of made) layer.attach(name, adapter);
  model.adapterConfigs.set(name, config);
}

function makeLowRank(
  { path, layer, rank, scale }: LowRankTarget,
  config: AdapterConfig,
  source: Source,
): LowRank {
  const isEmbedding = layer instanceof Embedding;
  const names = lowRankNames(isEmbedding);
  const [rows, columns] = storedOf(layer).shape as [number, number];
  const [inputs, outputs] = isEmbedding ? [rows, columns] : [columns, rows];
  const part = (own: string, shape: readonly number[]) => source.lowRank(`${path}.${own}`, shape, layer);
  const a = part(names.a, [rank, inputs]);
  const b = part(names.b, [outputs, rank]);
  const magnitude = config.dora ? part(names.magnitude, [outputs]) : null;
  return new LowRank({ a, b, magnitude, scale, dropout: config.dropout }, isEmbedding);
}

/** The weight as it is kept: a matrix in 8 bit is not widened to ask for its shape and device. */
function storedOf(layer: LowRankTarget['layer']): Tensor {
  return layer instanceof Linear ? layer.storedWeight : layer.ownWeight;
}

function initialValue(
  key: string,
  shape: readonly number[],
  { init }: AdapterConfig,
  seed: number,
  layer: LowRankTarget['layer'],
): Tensor {
  if (key.endsWith('.lora_magnitude_vector')) return noGrad(() => rowLengths(layer.ownWeight));
  if (key.endsWith('.lora_embedding_B')) return normal(shape, 1, seed, key);
  if (!key.endsWith('.lora_A.weight')) return zeros(shape);
  return init === 'gaussian'
    ? normal(shape, 1 / shape[0]!, seed, key)
    : uniform(shape, 1 / Math.sqrt(shape[1]!), seed, key);
}

/** Without what PEFT puts before every name, and without the `.weight` that some of its versions add. */
function plainName(key: string): string {
  const name = key.startsWith(prefix) ? key.slice(prefix.length) : key;
  return name.replace(/\.lora_magnitude_vector\.weight$/, '.lora_magnitude_vector');
}

/** PEFT may store the base's embeddings beside the adapter: they must be those of this base. */
function requireNoRest(
  model: Module,
  path: string,
  state: ReadonlyMap<string, Tensor>,
  taken: ReadonlySet<string>,
): void {
  if ([...state.keys()].every((key) => taken.has(key))) return;
  const base = new Map<string, Tensor>(
    [...layersOf(model)].flatMap(([layerPath, layer]) =>
      [...layer.baseParameters()].map(([own, value]) => [`${layerPath}.${own}`, value] as const),
    ),
  );
  for (const [key, value] of state) {
    if (taken.has(key)) continue;
    const own = base.get(key.replace('.base_layer.', '.'));
    if (own && isSame(own, value)) continue;
    const why = own ? 'which is not what the base has' : 'which its config and the model know nothing of';
    throw new ReckonError('data', 'extra-tensor', `${path} has a tensor '${prefix}${key}', ${why}`);
  }
}

function isSame(a: Tensor, b: Tensor): boolean {
  if (a.shape.join() !== b.shape.join()) return false;
  const bytes = (value: Tensor) => Buffer.from(value.detach().to(a.dtype).toBytes());
  return bytes(a).equals(bytes(b));
}
