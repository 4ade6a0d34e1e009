/**
 * Owns the model that training changes: all of its weights, or an adapter on a base that stays as it is. Knows no
 * trainer and no optimizer.
 */

import { resolve } from 'node:path';
import { layersOf, trainableParameters, useAdapter, withAdapter } from '../nn/index.ts';
import { scope } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { createAdapter, isAdapterFolder, loadAdapter, saveAdapter } from './adapter.ts';
import { type AdapterConfig, adapterDefaults } from './adapter-config.ts';
import { adapterBase, mergedModel } from './adapter-merge.ts';
import { adapterTargets } from './adapter-targets.ts';
import { copiedState, type WeightFormat } from './copied-state.ts';
import { Decoder } from './decoder.ts';
import { type FrozenOptions, type LoadOptions, loadFrozen, loadModel, saveModel } from './folder.ts';

/** What is said of an adapter to train; the rest is PEFT's defaults. */
export interface AdapterOptions {
  readonly type: 'lora' | 'rslora' | 'dora';
  readonly rank: number;
  readonly alpha: number;
  readonly dropout: number;
  readonly targetModules: string | readonly string[];
  readonly modulesToSave: readonly string[];
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  readonly init: 'default' | 'gaussian';
  /** Keeps the base's matrices in 8 bit while the adapter is trained; by default in the compute dtype. */
  readonly baseWeights?: WeightFormat | undefined;
}

/** How a policy is opened. `dtype` of the load options is that of weights which are trained. */
export interface PolicyOptions extends LoadOptions {
  /** The adapter to train on the model; all weights are trained where there is none. */
  readonly adapter?: AdapterOptions | undefined;
  /** A new adapter's initial values follow from it. */
  readonly seed: number;
}

const policyName = 'policy';
const startName = 'start';

/**
 * Opens a model or adapter folder for training; `trainableParameters` are its leaves, and the caller owns it. With an
 * adapter the base takes no gradient and is kept in the compute dtype; an adapter folder is gone on with on its own
 * base, and must be of the shape that is asked for. Without one an adapter folder is trained whole, merged.
 */
export function openPolicy(folder: string, options: PolicyOptions): Decoder {
  const model = options.adapter ? openAdapted(folder, options.adapter, options) : loadModel(folder, options);
  for (const value of trainableParameters(model).values()) value.requiresGrad_();
  return model;
}

/** The config of the adapter that a policy trains; null where it trains all weights. */
export function trainedAdapter(policy: Decoder): AdapterConfig | null {
  return policy.adapterConfigs.get(policyName) ?? null;
}

/** Writes what was trained: the adapter in PEFT's format, or the whole model. */
export function savePolicy(policy: Decoder, folder: string): void {
  if (trainedAdapter(policy)) saveAdapter(policy, policyName, folder);
  else saveModel(policy, folder);
}

/**
 * The policy as it was when a stage began, from the folder it began with: for a policy with an adapter a view of the
 * same base, without adapter or with the one it began with; else a model of its own. The caller owns it.
 */
export function openReference(policy: Decoder, folder: string, load: FrozenOptions): Decoder {
  if (!trainedAdapter(policy)) return loadFrozen(folder, load);
  const view = withAdapter(policy, null, () => mergedModel(policy));
  if (!isAdapterFolder(folder)) return view;
  loadAdapter(view, startName, folder);
  useAdapter(view, startName);
  return view;
}

function openAdapted(folder: string, adapter: AdapterOptions, options: PolicyOptions): Decoder {
  const { computeDtype, device, seed } = options;
  const goesOn = isAdapterFolder(folder);
  const base = resolve(goesOn ? adapterBase(folder) : folder);
  const wanted = { ...configOf(adapter), base };
  const model =
    adapter.baseWeights === 'int8'
      ? roundedBase(base, wanted, options)
      : loadModel(base, { dtype: computeDtype, computeDtype, device, map: true });
  try {
    if (goesOn) {
      const found = loadAdapter(model, policyName, folder);
      requireSameShape(model, folder, found, wanted);
      model.adapterConfigs.set(policyName, wanted);
      for (const [, layer] of layersOf(model)) {
        const lowRank = layer.adapter(policyName)?.lowRank;
        if (lowRank) lowRank.dropout = wanted.dropout;
      }
    } else createAdapter(model, policyName, wanted, seed);
    useAdapter(model, policyName);
    return model;
  } catch (error) {
    model[Symbol.dispose]();
    throw error;
  }
}

/**
 * A base with its matrices in 8 bit, rounded from the numbers of its file; those that the adapter has whole copies of stay
 * as they are, so that these begin with the numbers of the file.
 */
function roundedBase(
  folder: string,
  config: AdapterConfig,
  { computeDtype, device }: PolicyOptions,
): Decoder {
  using full = loadModel(folder, { computeDtype, device, map: true });
  const whole = new Set(adapterTargets(full, config).whole.map(({ path }) => path));
  return scope(
    () =>
      new Decoder(
        full.config,
        copiedState(full, computeDtype, (path) => !whole.has(path)),
        computeDtype,
      ),
  );
}

function configOf({ type, baseWeights: _, ...rest }: AdapterOptions): AdapterConfig {
  return { ...adapterDefaults, ...rest, rslora: type === 'rslora', dora: type === 'dora' };
}

/** The same layers with the same ranks and scales, whatever words they are named in. */
function requireSameShape(model: Decoder, folder: string, found: AdapterConfig, wanted: AdapterConfig): void {
  const shape = (config: AdapterConfig) => {
    const { lowRank, whole } = adapterTargets(model, config);
    const updates = lowRank.map(({ path, rank, scale }) => `${path} ${rank} ${scale}`);
    return JSON.stringify([config.dora, updates, whole.map(({ path }) => path)]);
  };
  if (shape(found) === shape(wanted)) return;
  throw new ReckonError(
    'recipe',
    'other-adapter',
    `${folder} holds an adapter of rank ${found.rank}, alpha ${found.alpha} or other layers, and the recipe asks to train one of rank ${wanted.rank}, alpha ${wanted.alpha}; make them the same, or merge it into its base first (reckon merge)`,
  );
}
