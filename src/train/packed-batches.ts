/**
 * Owns micro-batches whose rows hold several sequences, one behind another: positions begin anew with each and none sees
 * another, so loss and gradient are those of the sequences alone. Knows no loss.
 */

import { packRows } from '../data/packing.ts';
import {
  fittingRows,
  inputTokens,
  type MicroBatch,
  microBatchOf,
  roundedWidth,
  type TrainingSequence,
} from './micro-batches.ts';

/** Row lengths in an octave: few, because every new shape of a product costs compiled code and leaves holes in the heap. */
const lengthsPerOctave = 4;
/** Share of padding that is not worth longer rows, in which attention costs more. */
const littlePadding = 0.03;
/** Rows are at most so many times as long as the longest sequence. */
const mostTimes = 4;

/** The lengths that rows may have, from the first one that holds `longest` tokens on. */
function* rowLengths(longest: number): Generator<number> {
  for (let length = longest; ; length++) {
    const octave = 2 ** Math.ceil(Math.log2(length));
    const step = Math.max(8, octave / (2 * lengthsPerOctave));
    length = Math.ceil(length / step) * step;
    yield length;
  }
}

interface Packed {
  readonly width: number;
  readonly rows: readonly (readonly number[])[];
}

/**
 * The shortest rows with little padding, or else those with the least: the last row is seldom full, and of few sequences
 * another length may hold them better.
 */
function packed(lengths: readonly number[], budget: number): Packed {
  const longest = lengths.reduce((most, length) => Math.max(most, length), 1);
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const placesOf = ({ width, rows }: Packed) => width * rows.length;
  let best: Packed | undefined;
  for (const width of rowLengths(longest)) {
    if (best && width > Math.min(mostTimes * longest, budget)) break;
    const bins = packRows(lengths, width, 'bfd');
    const next = { width, rows: bins.map((pieces) => pieces.map(({ row }) => row)) };
    if (!best || placesOf(next) < placesOf(best)) best = next;
    if (tokens > (1 - littlePadding) * placesOf(next)) break;
  }
  return best!;
}

/** Packs the sequences into rows of one length, the longest sequence's or more, and cuts them within the token budget. */
export function packMicroBatches(
  sequences: readonly TrainingSequence[],
  budget: number,
  padId: number,
): MicroBatch[] {
  const { width, rows } = packed(sequences.map(inputTokens), budget);
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
  rows: readonly (readonly number[])[],
  width: number,
  padId: number,
): MicroBatch {
  const batch = microBatchOf(sequences, rows, padId, roundedWidth(width));
  const positions = new Int32Array(batch.inputIds.length);
  // Padding is a segment of its own: it sees itself, so that no row of the attention is empty.
  const segments = new Int32Array(batch.inputIds.length).fill(-1);
  rows.forEach((order, row) => {
    let offset = row * batch.width;
    for (const [segment, i] of order.entries()) {
      const length = inputTokens(sequences[i]!);
      for (let t = 0; t < length; t++) positions[offset + t] = t;
      segments.fill(segment, offset, offset + length);
      offset += length;
    }
  });
  return { ...batch, layout: { positions, segments } };
}
