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

/**
 * Row lengths in an octave: few, because every new shape of a product costs compiled code and leaves holes in the heap; more
 * for few sequences, which leave much of few rows empty.
 */
const lengthsPerOctave = [4, 8, 16] as const;
/** Share of padding for which more lengths are tried. */
const muchPadding = 0.05;
/** Share of padding that is not worth longer rows, in which attention costs more. */
const littlePadding = 0.03;
/** Rows are at most so many times as long as the longest sequence, or as long as this: attention in them costs little. */
const mostTimes = 4;
const shortRow = 1024;

/** The lengths that rows may have, so many in an octave, from the first one that holds `longest` tokens on. */
function* rowLengths(longest: number, perOctave: number): Generator<number> {
  for (let length = longest; ; length++) {
    const octave = 2 ** Math.ceil(Math.log2(length));
    const step = Math.max(8, octave / (2 * perOctave));
    length = Math.ceil(length / step) * step;
    yield length;
  }
}

interface Packed {
  readonly width: number;
  readonly rows: readonly (readonly number[])[];
}

const placesOf = ({ width, rows }: Packed) => width * rows.length;

/** The rows with the least padding among few lengths, or among more where those leave much. */
function packed(lengths: readonly number[], budget: number): Packed {
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  let best: Packed | undefined;
  for (const perOctave of lengthsPerOctave) {
    const next = packedWithin(lengths, tokens, budget, perOctave);
    if (!best || placesOf(next) < placesOf(best)) best = next;
    if (tokens > (1 - muchPadding) * placesOf(best)) break;
  }
  return best!;
}

/**
 * The shortest rows with little padding, or else those with the least: the last row is seldom full, and of few sequences
 * another length may hold them better.
 */
function packedWithin(lengths: readonly number[], tokens: number, budget: number, perOctave: number): Packed {
  const longest = lengths.reduce((most, length) => Math.max(most, length), 1);
  let best: Packed | undefined;
  for (const width of rowLengths(longest, perOctave)) {
    if (best && width > Math.min(Math.max(mostTimes * longest, shortRow), budget)) break;
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
