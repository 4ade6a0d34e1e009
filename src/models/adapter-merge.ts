/** Owns the model that a base and its adapter in use come to: plain weights, no adapter. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cachedModel } from '../hub/index.ts';
import { mergedParameters } from '../nn/index.ts';
import { type DType, noGrad, scope, type Tensor } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { readAdapterConfig } from './adapter.ts';
import { Decoder } from './decoder.ts';

/**
 * A model with the adapter in use merged, in the base's dtype or another. It shares the memory of what stays as it is
 * and outlives the model it came from. Head and embedding that the adapter makes different are no longer tied.
 */
export function mergedModel(model: Decoder, dtype: DType | null = null): Decoder {
  return scope(() => {
    const state = new Map<string, Tensor>();
    for (const [name, value] of mergedParameters(model)) state.set(name, stored(name, value, dtype));
    const tieEmbeddings = !state.has('lm_head.weight');
    return new Decoder({ ...model.config, tieEmbeddings }, state, model.computeDtype);
  });
}

/** A fresh handle on the value in another dtype; throws `number-too-large` where it does not hold the numbers. */
function stored(name: string, value: Tensor, dtype: DType | null): Tensor {
  if (dtype === null || dtype === value.dtype) return value.detach();
  return noGrad(() => {
    const converted = value.to(dtype);
    const fits = scope(() => converted.isFinite().eq(value.isFinite()).all().item() !== 0);
    if (fits) return converted;
    throw new ReckonError(
      'data',
      'number-too-large',
      `tensor '${name}' has numbers that ${dtype} does not hold; store it as bf16 or f32`,
    );
  });
}

/**
 * The folder of the base that an adapter folder names: beside it where its path is relative, as given otherwise, or in
 * the hub's cache where it is a hub id.
 */
export function adapterBase(folder: string): string {
  const { base, revision } = readAdapterConfig(folder);
  const cached = base === null ? null : cachedModel(base, revision);
  const places = base === null ? [] : [join(folder, base), base, ...(cached === null ? [] : [cached])];
  const found = places.find((place) => existsSync(join(place, 'config.json')));
  if (found !== undefined) return found;
  const told = base === null ? 'names no base model' : `names the base model '${base}', which is not there`;
  throw new ReckonError(
    'data',
    'no-base-model',
    `the adapter ${folder} ${told}; name where its base lies in adapter_config.json (base_model_name_or_path), or make one model of both: reckon merge BASE ${folder} OUT`,
  );
}
