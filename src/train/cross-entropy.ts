/** Owns the gradient of the cross-entropy of completion tokens over micro-batches. Knows no data and no schedule. */

import { backwardThroughTokenLosses, type SupervisedLoss, supervisedLoss } from '../losses/index.ts';
import type { Decoder } from '../models/index.ts';
import { withDropout } from '../nn/index.ts';
import { noGrad, scope } from '../torch/index.ts';
import { hash32 } from '../util/rng.ts';
import { type MicroBatch, trainingStates } from './micro-batches.ts';

/** How an update of supervised learning went; means over completion tokens, in nats. */
export interface CrossEntropySums {
  readonly loss: number;
  readonly entropy: number;
  /** Completion tokens. */
  readonly targets: number;
  /** Input tokens without padding. */
  readonly tokens: number;
}

export interface CrossEntropyOptions {
  readonly kind?: SupervisedLoss;
  /** What the summed loss is divided by: the completion tokens of these micro-batches by default. */
  readonly denominator?: number;
  /** Turns an adapter's dropout on; the masks follow from it and the micro-batch's number. */
  readonly dropoutSeed?: number;
}

/**
 * Accumulates the gradient of the mean cross-entropy (or another supervised loss) into the policy's parameters. The
 * denominator is the completion tokens of all micro-batches together, so the cut into micro-batches leaves no trace.
 */
export function accumulateCrossEntropy(
  policy: Decoder,
  batches: readonly MicroBatch[],
  options: CrossEntropyOptions = {},
): CrossEntropySums {
  const targets = batches.reduce((sum, batch) => sum + batch.targets.length, 0);
  let loss = 0;
  let entropy = 0;
  for (const [i, batch] of batches.entries()) {
    const learn = () => {
      const { hidden_ND, targets_N, close } = trainingStates(policy, batch);
      loss += backwardThroughTokenLosses(
        hidden_ND,
        policy.headWeight,
        targets_N,
        { temperature: 1 },
        ({ logps_N, entropies_N }) => {
          entropy += noGrad(() => entropies_N.detach().sum().item()) / targets;
          return supervisedLoss(options.kind ?? 'nll', logps_N, options.denominator ?? targets);
        },
      );
      close();
    };
    const { dropoutSeed } = options;
    scope(() =>
      dropoutSeed === undefined ? learn() : withDropout(policy, hash32(`${i}`, dropoutSeed), learn),
    );
  }
  return { loss, entropy, targets, tokens: batches.reduce((sum, batch) => sum + batch.tokens, 0) };
}
