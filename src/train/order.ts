/** Owns which problems a step sees: every epoch shuffles all of them by the seed, so a step needs no memory. */

import { Rng } from '../util/rng.ts';

/** The `count` items of step 1, 2, ...: consecutive slices of one endless list of shuffled epochs. */
export function itemsOfStep<T>(
  items: readonly T[],
  step: number,
  count: number,
  seed: number,
): { item: T; epoch: number }[] {
  const first = (step - 1) * count;
  const epochs = new Map<number, T[]>();
  return Array.from({ length: count }, (_, i) => {
    const epoch = Math.floor((first + i) / items.length);
    if (!epochs.has(epoch))
      epochs.set(epoch, new Rng({ seed, purpose: 'order', step: epoch }).shuffled(items));
    return { item: epochs.get(epoch)![(first + i) % items.length]!, epoch };
  });
}
