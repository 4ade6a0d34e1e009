/** Owns the gradient of the cross-entropy of completion tokens over micro-batches. Knows no data and no schedule. */

import { backwardThroughLogps } from '../losses/index.ts';
import type { Decoder } from '../models/index.ts';
import { noGrad, scope } from '../torch/index.ts';
import { type MicroBatch, predictingStates } from './micro-batches.ts';

/** How an update of supervised learning went; means over completion tokens, in nats. */
export interface CrossEntropySums {
  readonly loss: number;
  readonly entropy: number;
  /** Completion tokens. */
  readonly targets: number;
  /** Input tokens without padding. */
  readonly tokens: number;
}

/**
 * Accumulates the gradient of the mean cross-entropy into the policy's parameters. The denominator is the completion
 * tokens of all micro-batches together, so the cut into micro-batches leaves no trace.
 */
export function accumulateCrossEntropy(policy: Decoder, batches: readonly MicroBatch[]): CrossEntropySums {
  const targets = batches.reduce((sum, batch) => sum + batch.targets.length, 0);
  let loss = 0;
  let entropy = 0;
  for (const batch of batches) {
    scope(() => {
      const { hidden_ND, targets_N } = predictingStates(policy, batch);
      const value = backwardThroughLogps(
        hidden_ND,
        policy.headWeight,
        targets_N,
        { temperature: 1 },
        ({ logps_N, entropies_N }) => {
          entropy += noGrad(() => entropies_N.detach().sum().item()) / targets;
          return logps_N.sum().mul(-1 / targets);
        },
      );
      loss += value.item();
    });
  }
  return { loss, entropy, targets, tokens: batches.reduce((sum, batch) => sum + batch.tokens, 0) };
}
