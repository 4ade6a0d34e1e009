/** Owns the golden cases of supervised fine-tuning: one step on a model, accumulation, packing. */

import { join } from 'node:path';
import { packRows } from '../../src/data/packing.ts';
import type { SupervisedExample } from '../../src/data/training-rows.ts';
import type { Decoder } from '../../src/models/index.ts';
import { loadTokenizer } from '../../src/text/index.ts';
import { noGrad, scope, tensor } from '../../src/torch/index.ts';
import { accumulateCrossEntropy } from '../../src/train/cross-entropy.ts';
import { cutMicroBatches } from '../../src/train/micro-batches.ts';
import { packMicroBatches } from '../../src/train/packed-batches.ts';
import { SupervisedRows, sequenceOf } from '../../src/train/supervised-rows.ts';
import { type Case, type Got, type Handlers, root } from './case.ts';
import { gradientsOf, padded, trainableModel } from './model-step.ts';
import { meanOver, tokenStatistics } from './token-statistics.ts';

/** Small enough that every case is cut into several micro-batches. */
const microBatchTokens = 24;
/** The reference packs its data in batches of so many rows. */
const mapBatch = 1000;

interface Example {
  readonly input_ids: number[];
  readonly labels?: number[];
}

export const sftHandlers: Handlers = {
  'sft.step': (one) => {
    const examples = (one.inputs['examples']!.value as Example[]).map(labelled);
    using model = trainableModel(one);
    const sums = lossOf(one, model, examples);
    return {
      ...batchOf(one, examples),
      loss: sums,
      metrics: metricsOf(model, examples),
      ...gradientsOf(model),
    };
  },
  'sft.accumulation': (one) => {
    const examples = (one.inputs['examples']!.value as Example[]).map(labelled);
    using model = trainableModel(one);
    const size: number = one.params['micro_batch'];
    const parts = Array.from({ length: Math.ceil(examples.length / size) }, (_, i) =>
      examples.slice(i * size, (i + 1) * size),
    );
    const losses = parts.map((part) => lossOf(one, model, part));
    return { micro_losses: losses, total: losses.reduce((a, b) => a + b), ...gradientsOf(model) };
  },
  'sft.pack_dataset': (one) => ({ rows: packed(one) }),
  'sft.prepare': (one) => {
    const examples = one.inputs['examples']!.value as SupervisedExample[];
    const tokenizer = loadTokenizer(join(root, one.uses['tokenizer']!));
    const options = {
      completionOnly: one.params['completion_only_loss'] ?? true,
      assistantOnly: one.params['assistant_only_loss'] ?? false,
      maxLength: one.params['max_length'],
    };
    const encoder = new SupervisedRows(tokenizer, options);
    const rows = examples.flatMap((example) => encoder.row(example) ?? []);
    return {
      rows: rows.map(({ ids, learned }) => ({
        input_ids: ids,
        labels: ids.map((id, t) => (learned[t] ? id : -100)),
      })),
    };
  },
};

type Labelled = Required<Example>;

function labelled({ input_ids, labels }: Example): Labelled {
  return { input_ids, labels: labels ?? input_ids };
}

/** The loss through the trainer's own path, accumulated in the model's gradients. */
function lossOf({ params }: Case, model: Decoder, examples: readonly Labelled[]): number {
  const sequences = examples.map(({ input_ids, labels }) =>
    sequenceOf({ ids: input_ids, learned: labels.map((label) => label !== -100) }),
  );
  const cut = params['padding_free'] ? packMicroBatches : cutMicroBatches;
  const batches = cut(sequences, microBatchTokens, params['pad_token_id'] ?? 0);
  return accumulateCrossEntropy(model, batches, {
    kind: params['loss_type'] === 'dft' ? 'dft' : 'nll',
    ...(params['num_items_in_batch'] ? { denominator: params['num_items_in_batch'] } : {}),
  }).loss;
}

/** The batch as the reference's collator lays it out. */
function batchOf({ params }: Case, examples: readonly Labelled[]): Got {
  const ids = examples.map((example) => example.input_ids);
  // The first token of a row is never predicted.
  if (params['padding_free'])
    return {
      'batch.input_ids': ids.flat(),
      'batch.labels': examples.flatMap(({ labels }) => [-100, ...labels.slice(1)]),
      'batch.position_ids': ids.flatMap((row) => row.map((_, t) => t)),
    };
  return {
    'batch.input_ids': padded(ids, params['pad_token_id']),
    'batch.labels': padded(
      examples.map(({ labels }) => labels),
      -100,
    ),
    'batch.attention_mask': padded(
      ids.map((row) => row.map(() => 1)),
      0,
    ),
  };
}

/** Entropy and accuracy over the labels, from whole logits. */
export function metricsOf(model: Decoder, examples: readonly Labelled[]): Got {
  const rows = padded(
    examples.map(({ input_ids }) => input_ids),
    0,
  );
  const matrix = (values: readonly number[][]) =>
    tensor(values.flat(), { dtype: 'i64', shape: [values.length, values[0]!.length] });
  return noGrad(() =>
    scope(() => {
      const labels = matrix(
        padded(
          examples.map((example) => example.labels),
          -100,
        ),
      );
      const statistics = tokenStatistics(model.logits(model.forward(matrix(rows))), labels);
      return {
        entropy: meanOver(statistics, 'entropies'),
        mean_token_accuracy: meanOver(statistics, 'hits'),
        num_tokens: examples.reduce((sum, { input_ids }) => sum + input_ids.length, 0),
      };
    }),
  );
}

function packed({ inputs, params }: Case): Got {
  const columns = Object.entries(inputs).map(([name, entry]) => [name, entry.value as number[][]] as const);
  const rows = columns[0]![1];
  const batches = Array.from({ length: Math.ceil(rows.length / mapBatch) }, (_, i) => i * mapBatch);
  const bins = batches.flatMap((first) =>
    packRows(
      rows.slice(first, first + mapBatch).map((row) => row.length),
      params['seq_length'],
      params['strategy'],
    ).map((bin) => bin.map((piece) => ({ ...piece, row: piece.row + first }))),
  );
  const got: Got = { seq_lengths: bins.map((bin) => bin.map(({ length }) => length)) };
  for (const [name, values] of columns)
    got[name] = bins.map((bin) =>
      bin.flatMap(({ row, start, length }) => values[row]!.slice(start, start + length)),
    );
  return got;
}
