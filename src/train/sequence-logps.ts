/**
 * Owns log-probabilities of whole completions, summed over their tokens, and the backward pass of a loss that reads
 * only those sums. Knows no particular loss.
 */

import { backwardThroughLogps, tokenLogps } from '../losses/index.ts';
import type { Decoder } from '../models/index.ts';
import { backward, fromBytes, ids, noGrad, scope, type Tensor, zeros } from '../torch/index.ts';
import {
  learnedTokens,
  type MicroBatch,
  predictingStates,
  spread,
  type TrainingSequence,
  trainingStates,
} from './micro-batches.ts';

const options = { temperature: 1 };

/** The summed log-probability of every sequence's completion in nats, no gradient. */
export function sequenceLogps(
  model: Decoder,
  sequences: readonly TrainingSequence[],
  batches: readonly MicroBatch[],
): Float32Array {
  const sums = new Float32Array(sequences.length);
  for (const batch of batches) {
    noGrad(() =>
      scope(() => {
        const { hidden_ND, targets_N } = predictingStates(model, batch);
        const { logps_N } = tokenLogps(hidden_ND, model.headWeight, targets_N, options);
        const part = summed(logps_N, batch, sequences).toFloat32();
        for (const i of batch.order) sums[i] = part[i]!;
      }),
    );
  }
  return sums;
}

/** What a backward pass through sums gives beside gradients. */
export interface SequenceBackward {
  readonly loss: number;
  /** Summed over completion tokens, in nats. */
  readonly entropy: number;
}

/**
 * Runs backward for a loss of all sequences' sums [S] at once, in the order of `sequences`, and accumulates the gradient
 * of the policy's parameters. Where there are several micro-batches the sums are computed twice: once without a graph
 * for the loss, which then may compare sequences of different micro-batches, and once for the gradient.
 */
export function backwardThroughSequenceLogps(
  policy: Decoder,
  sequences: readonly TrainingSequence[],
  batches: readonly MicroBatch[],
  loss: (sums_S: Tensor) => Tensor,
): SequenceBackward {
  const { device } = policy;
  return scope(() => {
    if (batches.length === 1) {
      const [batch] = batches as [MicroBatch];
      return backwardMicroBatch(policy, batch, (logps_N) => loss(summed(logps_N, batch, sequences)));
    }
    const sums = sequenceLogps(policy, sequences, batches);
    const leaf = fromBytes(sums, 'f32', [sums.length]).to('f32', device).requiresGrad_();
    const value = loss(leaf);
    backward(value);
    const slopes = [...leaf.grad!.toFloat32()];
    let entropy = 0;
    for (const batch of batches) {
      scope(() => {
        const perToken = spread(batch, sequences, slopes);
        const slopes_N = fromBytes(perToken, 'f32', [perToken.length]).to('f32', device);
        entropy += backwardMicroBatch(policy, batch, (logps_N) => logps_N.mul(slopes_N).sum()).entropy;
      });
    }
    return { loss: value.item(), entropy };
  });
}

function backwardMicroBatch(
  policy: Decoder,
  batch: MicroBatch,
  loss: (logps_N: Tensor) => Tensor,
): SequenceBackward {
  const { hidden_ND, targets_N, close } = trainingStates(policy, batch);
  let entropy = 0;
  const value = backwardThroughLogps(
    hidden_ND,
    policy.headWeight,
    targets_N,
    options,
    ({ logps_N, entropies_N }) => {
      entropy = noGrad(() => entropies_N.detach().sum().item());
      return loss(logps_N);
    },
  );
  close();
  return { loss: value.item(), entropy };
}

/** Sums [S] over the tokens of each sequence; those of other micro-batches stay 0. */
function summed(logps_N: Tensor, batch: MicroBatch, sequences: readonly TrainingSequence[]): Tensor {
  const owners = batch.order.flatMap((i) => new Array<number>(learnedTokens(sequences[i]!)).fill(i));
  const { device } = logps_N;
  return zeros([sequences.length], 'f32', device).indexAdd(0, ids(owners, undefined, device), logps_N);
}
