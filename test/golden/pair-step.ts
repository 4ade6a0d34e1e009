/** Owns one optimizer batch of preference pairs on a model, through the trainer's own path, in the reference's words. */

import type { PreferencePair } from '../../src/data/training-rows.ts';
import type { Decoder } from '../../src/models/index.ts';
import { ids, noGrad, scope } from '../../src/torch/index.ts';
import { cutMicroBatches, type TrainingSequence } from '../../src/train/micro-batches.ts';
import { pairSequences } from '../../src/train/pairs.ts';
import { pairObjective } from '../../src/train/preference-objective.ts';
import { backwardThroughSequenceLogps, sequenceLogps } from '../../src/train/sequence-logps.ts';
import type { Case, Got, Tensors } from './case.ts';
import { padded } from './model-step.ts';
import { labelsOf, meanOver, type TokenStatistics, tokenStatistics } from './token-statistics.ts';

/** Small enough that the pairs are cut into several micro-batches. */
const microBatchTokens = 24;

/** TRL's logistic losses know no smoothing. */
const smoothless = ['sigmoid', 'sigmoid_norm'];

/** The loss and its metrics; the gradient of a share of the loss is accumulated in the policy. */
export function pairStep(
  { params }: Case,
  policy: Decoder,
  reference: Decoder,
  pairs: readonly PreferencePair[],
  share = 1,
): { readonly loss: number; readonly metrics: Got } {
  const sequences = pairSequences(pairs);
  const batches = cutMicroBatches(sequences, microBatchTokens, policy.config.padTokenId ?? 0);
  const before = statisticsOf(policy, sequences);
  const batch = {
    lengths: sequences.map(({ completionIds }) => completionIds.length),
    reference: sequenceLogps(reference, sequences, batches),
    zeroPoint: 0,
  };
  const objective = [params['loss_type'] ?? 'sigmoid'].flat()[0];
  const options = {
    objective,
    beta: params['beta'],
    labelSmoothing: smoothless.includes(objective) ? 0 : (params['label_smoothing'] ?? 0),
    gamma: 0,
    nllWeight: 0,
    desirableWeight: 1,
    undesirableWeight: 1,
  };
  let metrics: Got = {};
  const { loss } = backwardThroughSequenceLogps(policy, sequences, batches, (sums_S) => {
    const { loss, metrics: ours } = pairObjective(sums_S, batch, options);
    metrics = {
      'rewards/chosen': ours['preference/reward_chosen'],
      'rewards/rejected': ours['preference/reward_rejected'],
      'rewards/margins': ours['preference/margin'],
      'rewards/accuracies': ours['preference/accuracy'],
      'logps/chosen': ours['preference/logp_chosen'],
      'logps/rejected': ours['preference/logp_rejected'],
    };
    return loss.mul(share);
  });
  return { loss: loss / share, metrics: { ...metrics, ...before } };
}

/** Entropy over all completion tokens, accuracy over the chosen, mean logits of either. */
export function pairStatistics(statistics: TokenStatistics): Got {
  const pairs = statistics.mask.size(0) / 2;
  return {
    entropy: meanOver(statistics, 'entropies'),
    mean_token_accuracy: meanOver(statistics, 'hits', [0, pairs]),
    'logits/chosen': meanOver(statistics, 'logits', [0, pairs]),
    'logits/rejected': meanOver(statistics, 'logits', [pairs, pairs]),
  };
}

/** The rectangle that the reference's collator makes: chosen rows, then rejected, padded on the right. */
export function pairRectangle(
  sequences: readonly TrainingSequence[],
  padId: number,
): Record<string, number[][]> {
  const rows = sequences.map(({ promptIds, completionIds }) => [...promptIds, ...completionIds]);
  const masks = (prompt: number) =>
    sequences.map(({ promptIds, completionIds }) => [
      ...promptIds.map(() => prompt),
      ...completionIds.map(() => 1),
    ]);
  return {
    'batch.input_ids': padded(rows, padId),
    'batch.attention_mask': padded(masks(1), 0),
    'batch.completion_mask': padded(masks(0), 0),
  };
}

/** `input_ids` and `completion_mask` of the rectangle, as tensors. */
export function pairTensors(sequences: readonly TrainingSequence[]): Tensors {
  const rectangle = pairRectangle(sequences, 0);
  return new Map(
    ['input_ids', 'completion_mask'].map((name) => {
      const rows = rectangle[`batch.${name}`]!;
      return [name, ids(rows.flat(), [rows.length, rows[0]!.length])];
    }),
  );
}

function statisticsOf(model: Decoder, sequences: readonly TrainingSequence[]): Got {
  return noGrad(() =>
    scope(() => {
      const tensors = pairTensors(sequences);
      const inputs = tensors.get('input_ids')!;
      const labels = labelsOf(inputs, tensors.get('completion_mask')!);
      return pairStatistics(tokenStatistics(model.logits(model.forward(inputs)), labels));
    }),
  );
}
