/**
 * Owns the cutting of sequences into right-padded micro-batches of similar length within a token budget, and the
 * hidden states that predict their completion tokens. Loss and gradient do not depend on the cut.
 */

import type { Decoder, RowLayout } from '../models/index.ts';
import { ids, type Tensor } from '../torch/index.ts';

/** What a trainer learns from: a prompt, and the completion whose tokens count. */
export interface TrainingSequence {
  readonly promptIds: readonly number[];
  readonly completionIds: readonly number[];
  /** Which completion tokens count; all by default. The user's turns of a conversation do not. */
  readonly learned?: readonly boolean[];
}

/** A few sequences as rectangles of ids; completion tokens are listed row by row. */
export interface MicroBatch {
  /** The sequences by their index in the list that was cut, in the order of their tokens: one a row, more if packed. */
  readonly order: readonly number[];
  readonly height: number;
  readonly width: number;
  readonly inputIds: Int32Array;
  /** For each completion token, the flat place of the hidden state that predicts it. */
  readonly places: Int32Array;
  readonly targets: Int32Array;
  /** Input tokens that are not padding. */
  readonly tokens: number;
  /** By place, where rows hold several sequences: the position in its own sequence, and which of the row's it is. */
  readonly layout?: { readonly positions: Int32Array; readonly segments: Int32Array };
}

/**
 * The library compiles its bf16 products for every new shape (1 to 10 ms each, measured) and keeps about a thousand:
 * few widths and heights are worth a little padding.
 */
const widthStep = 8;
const heightStep = 8;

/** Tokens that a model reads of a sequence: the last one is only predicted. */
export function inputTokens({ promptIds, completionIds }: TrainingSequence): number {
  return promptIds.length + completionIds.length - 1;
}

/** The width of a rectangle for rows of `longest` tokens. */
export function roundedWidth(longest: number): number {
  return Math.ceil(longest / widthStep) * widthStep;
}

/** How many of `left` rows of a width fit the budget, in whole steps of the height so that none is empty; at least one. */
export function fittingRows(budget: number, width: number, left: number): number {
  return wholeSteps(Math.min(left, Math.max(1, Math.floor(budget / width))));
}

const wholeSteps = (rows: number): number => (rows <= heightStep ? rows : rows - (rows % heightStep));

/** Share of padding from which on shorter rows go into a micro-batch of their own. */
const mostPadding = 0.05;
/** A micro-batch of so few tokens, padding counted, is not cut for it: the pass would cost more than the padding. */
const leastTokens = 1024;

/** How many of the next rows, by falling length, go together. */
function rowsTogether(lengths: readonly number[], budget: number): number {
  const width = roundedWidth(lengths[0]!);
  const fitting = fittingRows(budget, lengths[0]!, lengths.length);
  let tokens = 0;
  const enough = lengths.slice(0, fitting).findIndex((length, row) => {
    tokens += length;
    const area = (row + 1) * width;
    return area > leastTokens && tokens < (1 - mostPadding) * area;
  });
  return enough < 1 ? fitting : wholeSteps(enough);
}

/** Cuts by falling length within the budget, so that rows of a micro-batch are padded little; at least one sequence each. */
export function cutMicroBatches(
  sequences: readonly TrainingSequence[],
  budget: number,
  padId: number,
): MicroBatch[] {
  const lengthOf = (i: number) => inputTokens(sequences[i]!);
  const order = sequences.map((_, i) => i).sort((a, b) => lengthOf(b) - lengthOf(a) || a - b);
  const batches: MicroBatch[] = [];
  for (let start = 0; start < order.length; ) {
    const rows = rowsTogether(order.slice(start).map(lengthOf), budget);
    const together = order.slice(start, start + rows).map((i) => [i]);
    batches.push(microBatchOf(sequences, together, padId));
    start += rows;
  }
  return batches;
}

/** Those of the sequences that `rows` name, one behind another in each row. */
export function microBatchOf(
  sequences: readonly TrainingSequence[],
  rows: readonly (readonly number[])[],
  padId: number,
  width: number = roundedWidth(Math.max(...rows.flat().map((i) => inputTokens(sequences[i]!)))),
): MicroBatch {
  const height = rows.length;
  const inputIds = new Int32Array(height * width).fill(padId);
  const places: number[] = [];
  const targets: number[] = [];
  let tokens = 0;
  rows.forEach((order, row) => {
    let offset = row * width;
    for (const i of order) {
      const { promptIds, completionIds, learned } = sequences[i]!;
      inputIds.set([...promptIds, ...completionIds.slice(0, -1)], offset);
      const first = offset + promptIds.length - 1;
      completionIds.forEach((id, j) => {
        if (learned?.[j] === false) return;
        places.push(first + j);
        targets.push(id);
      });
      offset += inputTokens(sequences[i]!);
    }
    tokens += offset - row * width;
  });
  return {
    order: rows.flat(),
    height,
    width,
    inputIds,
    places: Int32Array.from(places),
    targets: Int32Array.from(targets),
    tokens,
  };
}

/** What predicts the completion tokens, and those tokens. */
export interface PredictingStates {
  readonly hidden_ND: Tensor;
  readonly targets_N: Tensor;
}

/** Hidden states [N, D] that predict the completion tokens, and those tokens [N]. Call inside a scope. */
export function predictingStates(model: Decoder, batch: MicroBatch): PredictingStates {
  const { ids_BT, layout } = modelInputs(model, batch);
  return atPlaces(model, model.forward(ids_BT, layout), batch);
}

/**
 * The same for a loss whose gradient is wanted; call `close` after its backward pass. Where the model says so, only the
 * inputs of its blocks are kept until then (gradient checkpointing).
 */
export function trainingStates(
  model: Decoder,
  batch: MicroBatch,
): PredictingStates & { readonly close: () => void } {
  if (!model.gradientCheckpointing) return { ...predictingStates(model, batch), close: () => undefined };
  const { ids_BT, layout } = modelInputs(model, batch);
  const { output, close } = model.forwardCheckpointed(ids_BT, layout);
  return { ...atPlaces(model, model.normed(output), batch), close };
}

function modelInputs({ device }: Decoder, batch: MicroBatch): { ids_BT: Tensor; layout?: RowLayout } {
  const rectangle = (values: Int32Array) => ids(values, [batch.height, batch.width], device);
  const ids_BT = rectangle(batch.inputIds);
  if (!batch.layout) return { ids_BT };
  const { positions, segments } = batch.layout;
  return { ids_BT, layout: { positions_BT: rectangle(positions), segments_BT: rectangle(segments) } };
}

function atPlaces({ config, device }: Decoder, hidden: Tensor, batch: MicroBatch): PredictingStates {
  return {
    hidden_ND: hidden.view([-1, config.hiddenSize]).indexSelect(0, ids(batch.places, undefined, device)),
    targets_N: ids(batch.targets, undefined, device),
  };
}

/** What sequences hold a learned token, in the micro-batch's order of tokens. */
export function gathered<S extends TrainingSequence>(
  batch: MicroBatch,
  sequences: readonly S[],
  read: (sequence: S) => readonly number[],
): Float32Array {
  return Float32Array.from(batch.order.flatMap((i) => read(sequences[i]!)));
}

/** The other way round: one list a sequence of what micro-batches hold a learned token. */
export function scattered(
  batches: readonly MicroBatch[],
  sequences: readonly TrainingSequence[],
  values: readonly (Float32Array | Float64Array)[],
): number[][] {
  const found: number[][] = sequences.map(() => []);
  batches.forEach((batch, b) => {
    let start = 0;
    for (const i of batch.order) {
      const end = start + learnedTokens(sequences[i]!);
      found[i] = [...values[b]!.subarray(start, end)];
      start = end;
    }
  });
  return found;
}

/** One number a completion token from one number a sequence, in the micro-batch's order of tokens. */
export function spread(
  batch: MicroBatch,
  sequences: readonly TrainingSequence[],
  values: readonly number[],
): Float32Array {
  return Float32Array.from(
    batch.order.flatMap((i) => new Array<number>(learnedTokens(sequences[i]!)).fill(values[i]!)),
  );
}

/** Completion tokens that count. */
export function learnedTokens({ completionIds, learned }: TrainingSequence): number {
  return learned ? learned.filter(Boolean).length : completionIds.length;
}

/** Share of the micro-batches' places that are padding. */
export function paddingShare(batches: readonly MicroBatch[]): number {
  const places = batches.reduce((sum, batch) => sum + batch.height * batch.width, 0);
  const tokens = batches.reduce((sum, batch) => sum + batch.tokens, 0);
  return places === 0 ? 0 : 1 - tokens / places;
}
