/** How sequences are cut into micro-batches: each once, within the budget, with little padding and no empty row. */

import { describe, expect, it } from 'vitest';
import { cutMicroBatches, type TrainingSequence } from '../../src/train/micro-batches.ts';
import { packMicroBatches } from '../../src/train/packed-batches.ts';
import { Rng } from '../../src/util/rng.ts';

/** Completions as a policy in training writes them: most of them short, some up to three times as long. */
function sequences(count: number, seed: number): TrainingSequence[] {
  const rng = new Rng({ seed, purpose: 'test', id: 'lengths' });
  return Array.from({ length: count }, (_, i) => {
    const length = 60 + (rng.wordAt(2 * i) % 60) + (rng.wordAt(2 * i + 1) % 4 === 0 ? i % 70 : 0);
    return { promptIds: [1, 2, 3], completionIds: new Array<number>(length).fill(5) };
  });
}

const paddingOf = (batches: readonly { height: number; width: number; tokens: number }[]): number => {
  const area = batches.reduce((sum, { height, width }) => sum + height * width, 0);
  return 1 - batches.reduce((sum, { tokens }) => sum + tokens, 0) / area;
};

describe.each([
  ['by length', cutMicroBatches],
  ['packed', packMicroBatches],
] as const)('micro-batches %s', (_name, cut) => {
  it.each([1, 9, 64, 513])('hold each of %d sequences once, within the budget, and no empty row', (count) => {
    const batches = cut(sequences(count, count), 2048, 0);
    const order = batches.flatMap((batch) => batch.order);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
    for (const { height, width, inputIds } of batches) {
      expect(height * width).toBeLessThanOrEqual(2048);
      for (let row = 0; row < height; row++) expect(inputIds[row * width]).toBe(1);
    }
  });
});

describe('padding by length', () => {
  it.each([
    [512, 2048],
    [512, 16_384],
    [1319, 8192],
  ])('of %d sequences at %d tokens a pass is under a twentieth', (count, budget) => {
    for (const seed of [1, 2, 3])
      expect(paddingOf(cutMicroBatches(sequences(count, seed), budget, 0))).toBeLessThan(0.05);
  });

  it('of few sequences is cut where rows would stand empty, not where passes would be tiny', () => {
    const batches = cutMicroBatches(sequences(9, 4), 16_384, 0);
    expect(batches.map(({ height }) => height)).toEqual([8, 1]);
  });
});

describe('padding of packed rows', () => {
  it.each([2, 3, 5, 8, 12, 24, 64, 512])('of %d sequences is under a twentieth on average', (count) => {
    const shares = Array.from({ length: count < 64 ? 40 : 6 }, (_, seed) =>
      paddingOf(packMicroBatches(sequences(count, seed), 8192, 0)),
    );
    expect(shares.reduce((sum, share) => sum + share, 0) / shares.length).toBeLessThan(0.05);
  });

  it('is not avoided by rows beyond the budget', () => {
    for (const seed of [1, 2, 3])
      for (const { height, width } of packMicroBatches(sequences(9, seed), 150, 0))
        expect(height * width).toBeLessThanOrEqual(150);
  });
});
