/**
 * Owns what the engine reads of a policy: the policy itself where its weights lie as decoding reads them, else a snapshot.
 * Knows no engine and no trainer.
 */

import { Linear, layersOf } from '../nn/index.ts';
import { freeCachedMemory, passesHaveStepBits } from '../torch/index.ts';
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

/** Heads whose width is a multiple of it are mixed two tokens at once, in decoding as in training. */
const pairedWidth = 32;

/**
 * Whether the steps of `readerOf(policy, weights)` have the bits of the policy's own passes: in bf16 by kernels for which
 * that is so at any number of rows, with weights that the reader has as the policy computes with them.
 */
export function stepsAreExact(policy: Decoder, weights: WeightFormat = 'full'): boolean {
  const { computeDtype: dtype, device, config } = policy;
  if (!passesHaveStepBits({ dtype, device }) || config.headDim % pairedWidth !== 0) return false;
  return readsInPlace(policy, weights) || (weights === 'full' && isTrainedWhole(policy));
}

/** Whether norms are folded into joined matrices in training as they are in a snapshot. */
function isTrainedWhole(policy: Decoder): boolean {
  for (const [, layer] of layersOf(policy)) if (layer.isAdapted) return false;
  for (const [, parameter] of policy.namedParameters()) if (!parameter.requiresGrad) return false;
  return true;
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
