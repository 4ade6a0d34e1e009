/**
 * Owns what the engine reads of a policy: the policy itself where its weights lie as decoding reads them, else a snapshot.
 * Knows no engine and no trainer.
 */

import { Linear, layersOf } from '../nn/index.ts';
import { freeCachedMemory } from '../torch/index.ts';
import type { WeightFormat } from './copied-state.ts';
import type { Decoder } from './decoder.ts';

/** A model to be read until the policy's next update; to dispose it leaves the policy alone. */
export interface Reader extends Disposable {
  readonly model: Decoder;
}

/**
 * With a LoRA adapter in use on a base in the compute dtype, or in 8 bit, nothing is merged: an update of the adapter is
 * there at once, and the engine rounds as the trainer does; what decoding packs for its kernels is freed with the reader.
 * Trained whole, weights are copied for the engine, cast, joined and packed (docs/performance.md says why), and so are those
 * under an adapter that decoding cannot read beside the base (DoRA, updates of embedding or head, modules stored whole), or
 * where `weights` asks for another format.
 */
export function readerOf(policy: Decoder, weights: WeightFormat = 'full'): Reader {
  if (readsInPlace(policy, weights)) return { model: policy, [Symbol.dispose]: () => forgetPacked(policy) };
  const model = policy.snapshot(weights, 'decoding');
  return { model, [Symbol.dispose]: () => model[Symbol.dispose]() };
}

/**
 * Parameters from which the packed copy's memory goes back to the system: the update's tensors would only fit beside its
 * holes.
 */
const largePolicy = 100e6;

function forgetPacked(policy: Decoder): void {
  policy.forgetPacked();
  if (policy.parameterCount >= largePolicy) freeCachedMemory(policy.device);
}

function readsInPlace(policy: Decoder, weights: WeightFormat): boolean {
  const { computeDtype } = policy;
  let adapted = 0;
  for (const [, layer] of layersOf(policy)) {
    if (layer.isReplaced) return false;
    const isRounded = layer instanceof Linear && layer.int8 !== null;
    if (layer instanceof Linear && weights === 'int8' && !isRounded) return false;
    for (const [, value] of isRounded ? [] : layer.ownParameters())
      if (value.dtype !== computeDtype || value.requiresGrad) return false;
    if (!layer.isAdapted) continue;
    if (!(layer instanceof Linear) || !layer.lowRank?.steps) return false;
    adapted++;
  }
  return adapted > 0;
}
