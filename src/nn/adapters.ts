/**
 * Owns the adapters of a whole model by name: which one is in use, its parameters, dropout, merging. Knows neither
 * files nor how target layers are chosen.
 */

import { scope, type Tensor } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Layer } from './layer.ts';
import { layerDropoutSeed } from './low-rank.ts';
import type { Module } from './module.ts';

/** The layers of a model by path. */
export function* layersOf(model: Module): IterableIterator<[string, Layer]> {
  for (const [path, module] of model.namedModules()) if (module instanceof Layer) yield [path, module];
}

/** The names of the adapters that a model has. */
export function adapterNames(model: Module): string[] {
  const names = new Set<string>();
  for (const [, layer] of layersOf(model)) for (const name of layer.adapterNames()) names.add(name);
  return [...names];
}

/** The adapter in use, or null for the base alone. */
export function activeAdapter(model: Module): string | null {
  for (const [, layer] of layersOf(model)) if (layer.inUse !== null) return layer.inUse;
  return null;
}

/** Puts the adapter of that name in use, or none for null; throws `no-such-adapter`. */
export function useAdapter(model: Module, name: string | null): void {
  if (name !== null) requireAdapter(model, name);
  for (const [, layer] of layersOf(model)) layer.use(name);
}

/**
 * Runs `fn` with another adapter, or with the base alone: a reference policy that shares its base with the policy.
 * What was in use before is in use afterwards.
 */
export function withAdapter<T>(model: Module, name: string | null, fn: () => T): T {
  const before = activeAdapter(model);
  useAdapter(model, name);
  try {
    return fn();
  } finally {
    useAdapter(model, before);
  }
}

/** Frees an adapter, which must not be in use. */
export function removeAdapter(model: Module, name: string): void {
  requireAdapter(model, name);
  if (activeAdapter(model) === name) {
    throw new ReckonError(
      'usage',
      'adapter-in-use',
      `the adapter '${name}' is in use; put another in its place or none before it is removed`,
    );
  }
  for (const [, layer] of layersOf(model)) layer.detach(name);
}

/** An adapter's parameters by layer path and own name (`model.layers.0.mlp.up_proj.lora_A.weight`). */
export function adapterParameters(model: Module, name: string): Map<string, Tensor> {
  requireAdapter(model, name);
  const parameters = new Map<string, Tensor>();
  for (const [path, layer] of layersOf(model)) {
    const adapter = layer.adapter(name);
    for (const [own, value] of adapter?.lowRank?.namedParameters() ?? [])
      parameters.set(`${path}.${own}`, value);
    for (const [own, value] of adapter?.replaced ?? []) parameters.set(`${path}.${own}`, value);
  }
  return parameters;
}

/** What training changes: the parameters of the adapter in use, else the model's own. */
export function trainableParameters(model: Module): Map<string, Tensor> {
  const name = activeAdapter(model);
  return name === null ? model.stateDict() : adapterParameters(model, name);
}

/**
 * Every parameter with the adapter in use merged, one at a time, by its name in the state dict; what the adapter
 * changes is fresh. A tied model whose adapter parts head and embedding has `lm_head.weight` among them.
 */
export function* mergedParameters(model: Module): IterableIterator<[string, Tensor]> {
  for (const [path, module] of model.namedModules()) {
    const own = module instanceof Layer ? module.mergedParameters() : module.ownParameters();
    for (const [name, value] of own) yield [path ? `${path}.${name}` : name, value];
  }
}

/** The name under which an adapter's merged weights are in use. */
const mergedName = (name: string) => `${name} (merged)`;

/**
 * Puts merged weights of an adapter in use, for speed. They are copies beside the base, which stays as it is, so
 * `unmergeAdapter` gives back the base and the adapter bit for bit; the price is the changed weights once more.
 */
export function mergeAdapter(model: Module, name: string): void {
  useAdapter(model, name);
  for (const [, layer] of layersOf(model)) {
    if (!layer.isAdapted) continue;
    scope(() => layer.attach(mergedName(name), { lowRank: null, replaced: layer.mergedCopies() }));
  }
  useAdapter(model, mergedName(name));
}

/** Undoes `mergeAdapter`: the adapter stands beside the base again, and the merged copies are freed. */
export function unmergeAdapter(model: Module, name: string): void {
  useAdapter(model, name);
  removeAdapter(model, mergedName(name));
}

/**
 * Runs `fn` (a forward pass and its backward pass) with the adapters' dropout on. The masks follow from the seed and
 * the layer alone; give each micro-batch another seed.
 */
export function withDropout<T>(model: Module, seed: number, fn: () => T): T {
  setDropout(model, (path) => layerDropoutSeed(seed, path));
  try {
    return fn();
  } finally {
    setDropout(model, () => null);
  }
}

function setDropout(model: Module, seedOf: (path: string) => number | null): void {
  for (const [path, layer] of layersOf(model)) if (layer.lowRank) layer.lowRank.dropoutSeed = seedOf(path);
}

function requireAdapter(model: Module, name: string): void {
  const names = adapterNames(model);
  if (names.includes(name)) return;
  const known = names.length === 0 ? 'none' : names.map((one) => `'${one}'`).join(', ');
  throw new ReckonError(
    'usage',
    'no-such-adapter',
    `expected the name of an adapter that the model has (${known}), found '${name}'`,
  );
}
