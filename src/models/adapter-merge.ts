/** Owns the model that a base and its adapter in use come to: plain weights, no adapter. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { mergedParameters } from '../nn/index.ts';
import { scope, type Tensor } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { readAdapterConfig } from './adapter.ts';
import { Decoder } from './decoder.ts';

/**
 * A model with the adapter in use merged, in the base's dtype. It shares the memory of what the adapter leaves alone
 * and outlives the model it came from. Head and embedding that the adapter makes different are no longer tied.
 */
export function mergedModel(model: Decoder): Decoder {
  return scope(() => {
    const state = new Map<string, Tensor>();
    for (const [name, value] of mergedParameters(model)) state.set(name, value.detach());
    const tieEmbeddings = !state.has('lm_head.weight');
    return new Decoder({ ...model.config, tieEmbeddings }, state, model.computeDtype);
  });
}

/** The folder of the base that an adapter folder names: beside it where its path is relative, as given otherwise. */
export function adapterBase(folder: string): string {
  const { base } = readAdapterConfig(folder);
  const places = base === null ? [] : [join(folder, base), base];
  const found = places.find((place) => existsSync(join(place, 'config.json')));
  if (found !== undefined) return found;
  const told = base === null ? 'names no base model' : `names the base model '${base}', which is not there`;
  throw new ReckonError('data', 'no-base-model', `the adapter ${folder} ${told}; give its base explicitly`);
}
