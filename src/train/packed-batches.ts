/**
 * Owns micro-batches whose rows hold several sequences, one behind another: positions begin anew with each and none sees
 * another, so loss and gradient are those of the sequences alone. Knows no loss.
 */

import { type Piece, packRows } from '../data/packing.ts';
import { fittingRows, type MicroBatch, roundedWidth, type TrainingSequence } from './micro-batches.ts';

/** Widths in an octave. */
const widthsPerOctave = 4;

/**
 * The length of rows for sequences of which the longest has so many tokens: a few lengths only, because memory grows with
 * every new shape of a product (compiled code, and a heap cut up by tensors of other sizes). Packing fills what is added.
 */
export function packedWidth(longest: number): number {
  const octave = 2 ** Math.ceil(Math.log2(longest));
  const step = Math.max(8, octave / (2 * widthsPerOctave));
  return Math.ceil(longest / step) * step;
}

/**
 * Packs the sequences into rows about as long as the longest of them, and cuts the rows within the token budget; at least
 * one row each. Longer rows would save no more padding, and cost attention over places that see nothing of each other.
 */
export function packMicroBatches(
  sequences: readonly TrainingSequence[],
  budget: number,
  padId: number,
): MicroBatch[] {
  // The last token is only predicted, never read.
  const lengths = sequences.map(
    ({ promptIds, completionIds }) => promptIds.length + completionIds.length - 1,
  );
  const longest = lengths.reduce((most, length) => Math.max(most, length), 1);
  const width = packedWidth(longest);
  const rows = packRows(lengths, width, 'bfd');
  const batches: MicroBatch[] = [];
  for (let start = 0; start < rows.length; ) {
    const count = fittingRows(budget, width, rows.length - start);
    batches.push(fill(sequences, rows.slice(start, start + count), width, padId));
    start += count;
  }
  return batches;
}

function fill(
  sequences: readonly TrainingSequence[],
  rows: readonly (readonly Piece[])[],
  longest: number,
  padId: number,
): MicroBatch {
  const [width, height] = [roundedWidth(longest), rows.length];
  const inputIds = new Int32Array(height * width).fill(padId);
  const positions = new Int32Array(height * width);
  // Padding is a segment of its own: it sees itself, so that no row of the attention is empty.
  const segments = new Int32Array(height * width).fill(-1);
  const places: number[] = [];
  const targets: number[] = [];
  let tokens = 0;
  rows.forEach((pieces, row) => {
    let offset = row * width;
    for (const [segment, piece] of pieces.entries()) {
      const { promptIds, completionIds, learned } = sequences[piece.row]!;
      const all = [...promptIds, ...completionIds.slice(0, -1)];
      inputIds.set(all, offset);
      positions.set(
        all.map((_, t) => t),
        offset,
      );
      segments.fill(segment, offset, offset + all.length);
      const first = offset + promptIds.length - 1;
      completionIds.forEach((id, j) => {
        if (learned?.[j] === false) return;
        places.push(first + j);
        targets.push(id);
      });
      offset += all.length;
      tokens += all.length;
    }
  });
  return {
    order: rows.flat().map((piece) => piece.row),
    height,
    width,
    inputIds,
    places: Int32Array.from(places),
    targets: Int32Array.from(targets),
    tokens,
    layout: { positions, segments },
  };
}
