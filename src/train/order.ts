/** Owns which items a step and a minibatch see: shuffled by seed and step, so that nothing needs to be remembered. */

import { Rng } from '../util/rng.ts';

/** How long a stage is: in steps, or in whole passes over its items. */
export type StageLength = { readonly steps: number } | { readonly epochs: number };

/** What a length comes to where a step has `count` of `size` items: the last step of whole passes may have fewer. */
export function extentOf(
  length: StageLength,
  size: number,
  count: number,
): { readonly steps: number; readonly total: number } {
  const total = 'epochs' in length ? length.epochs * size : length.steps * count;
  return { steps: Math.ceil(total / count), total };
}

/**
 * The `count` items of step 1, 2, ...: consecutive slices of one endless list of shuffled epochs, which ends after `total`
 * items where that is given.
 */
export function itemsOfStep<T>(
  items: readonly T[],
  step: number,
  count: number,
  seed: number,
  total: number = Number.POSITIVE_INFINITY,
): { item: T; epoch: number }[] {
  const first = (step - 1) * count;
  const epochs = new Map<number, T[]>();
  return Array.from({ length: Math.max(0, Math.min(count, total - first)) }, (_, i) => {
    const epoch = Math.floor((first + i) / items.length);
    if (!epochs.has(epoch))
      epochs.set(epoch, new Rng({ seed, purpose: 'order', step: epoch }).shuffled(items));
    return { item: epochs.get(epoch)![(first + i) % items.length]!, epoch };
  });
}

/** The rollouts of a step cut into optimizer batches, shuffled in every epoch unless one batch holds them all. */
export function minibatchesOf<T>(
  sequences: readonly T[],
  options: { readonly epochs: number; readonly optimizerBatch: number },
  seed: number,
  step: number,
): T[][] {
  if (sequences.length === 0) return [];
  return Array.from({ length: options.epochs }, (_, epoch) => {
    if (options.optimizerBatch >= sequences.length) return [[...sequences]];
    const order = new Rng({ seed, purpose: 'minibatch', step, index: epoch }).shuffled(sequences);
    const count = Math.ceil(order.length / options.optimizerBatch);
    return Array.from({ length: count }, (_, i) =>
      order.slice(i * options.optimizerBatch, (i + 1) * options.optimizerBatch),
    );
  }).flat();
}
