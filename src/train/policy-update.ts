/** Owns the gradient of the policy loss over micro-batches, and the numbers that say how the update went. */

import {
  backwardThroughLogps,
  type PolicyGradientOptions,
  policyGradientLoss,
  tokenLogps,
} from '../losses/index.ts';
import type { Decoder } from '../models/index.ts';
import { fromBytes, noGrad, scope, type Tensor } from '../torch/index.ts';
import {
  type MicroBatch,
  paddingShare,
  predictingStates,
  spread,
  type TrainingSequence,
} from './micro-batches.ts';

/** Truncated importance sampling caps a token's weight here (Yao et al. 2025 use 2). */
const importanceCap = 2;

/** A rollout with the advantage of its every token. */
export interface PolicySequence extends TrainingSequence {
  readonly advantage: number;
  /** From the engine: at the sampling temperature, and under the truncated distribution that was sampled. */
  readonly logps: readonly number[];
  readonly samplingLogps: readonly number[];
}

export interface PolicyUpdate {
  readonly policy: Decoder;
  readonly reference: Decoder | null;
  readonly sequences: readonly PolicySequence[];
  readonly batches: readonly MicroBatch[];
  /** One a sequence: what its token losses are multiplied with. */
  readonly weights: readonly number[];
  /** Log-probabilities before the first update by micro-batch; null when this is it, and they are today's. */
  readonly oldLogps: readonly Float32Array[] | null;
  readonly temperature: number;
  /** The sampler left tokens out (top-p), so importance weights correct for it. */
  readonly truncated: boolean;
  readonly loss: PolicyGradientOptions;
}

/** Sums over completion tokens, but loss, norms and maxima. */
export interface UpdateSums {
  readonly loss: number;
  readonly gradNorm: number;
  readonly targets: number;
  /** Input tokens without padding. */
  readonly tokens: number;
  readonly paddingShare: number;
  readonly ratio: number;
  readonly clipped: number;
  readonly kl: number | null;
  readonly entropy: number;
  readonly mismatch: number;
  readonly mismatchMax: number;
}

/** Accumulates the gradient of one optimizer batch into the policy's parameters. */
export function accumulatePolicyGradient(update: PolicyUpdate): UpdateSums {
  const sums = update.batches.map((batch, i) =>
    scope(() => oneMicroBatch(update, batch, update.oldLogps?.[i] ?? null)),
  );
  const total = (read: (one: MicroSums) => number) => sums.reduce((sum, one) => sum + read(one), 0);
  return {
    loss: total((one) => one.loss),
    gradNorm: 0,
    targets: total((one) => one.targets),
    tokens: update.batches.reduce((sum, batch) => sum + batch.tokens, 0),
    paddingShare: paddingShare(update.batches),
    ratio: total((one) => one.ratio),
    clipped: total((one) => one.clipped),
    kl: update.reference ? total((one) => one.kl) : null,
    entropy: total((one) => one.entropy),
    mismatch: total((one) => one.mismatch),
    mismatchMax: Math.max(...sums.map((one) => one.mismatchMax)),
  };
}

/** Today's log-probabilities of every micro-batch's completion tokens, in its order, no gradient. */
export function recordedLogps(
  policy: Decoder,
  batches: readonly MicroBatch[],
  temperature: number,
): Float32Array[] {
  return batches.map((batch) =>
    noGrad(() =>
      scope(() => {
        const { hidden_ND, targets_N } = predictingStates(policy, batch);
        return tokenLogps(hidden_ND, policy.headWeight, targets_N, { temperature }).logps_N.toFloat32();
      }),
    ),
  );
}

type MicroSums = Record<
  'loss' | 'targets' | 'ratio' | 'clipped' | 'kl' | 'entropy' | 'mismatch' | 'mismatchMax',
  number
>;

function oneMicroBatch(update: PolicyUpdate, batch: MicroBatch, recorded: Float32Array | null): MicroSums {
  const { policy, reference, sequences, temperature } = update;
  const { device } = policy;
  const floats = (values: Float32Array) => fromBytes(values, 'f32', [values.length]).to('f32', device);
  const engine = gathered(batch, sequences, (sequence) => sequence.logps);
  const referenceLogps_N = reference && floats(recordedLogps(reference, [batch], temperature)[0]!);
  const advantages_N = floats(
    spread(
      batch,
      sequences,
      sequences.map((sequence) => sequence.advantage),
    ),
  );
  const weights_N = floats(spread(batch, sequences, update.weights));
  const { hidden_ND, targets_N } = predictingStates(policy, batch);
  let sums: MicroSums | undefined;
  const loss = backwardThroughLogps(
    hidden_ND,
    policy.headWeight,
    targets_N,
    { temperature },
    ({ logps_N, entropies_N }) => {
      const oldLogps_N = recorded ? floats(recorded) : logps_N.detach();
      const corrected_N = update.truncated
        ? weights_N.mul(
            importance(oldLogps_N, floats(gathered(batch, sequences, (one) => one.samplingLogps))),
          )
        : weights_N;
      const { loss, sums: parts } = policyGradientLoss(
        { logps_N, oldLogps_N, referenceLogps_N, advantages_N, weights_N: corrected_N },
        update.loss,
      );
      const mismatch = noGrad(() => oldLogps_N.sub(floats(engine)).toFloat32().map(Math.abs));
      sums = {
        loss: 0,
        targets: batch.targets.length,
        ratio: parts.ratio.item(),
        clipped: parts.clipped.item(),
        kl: parts.kl?.item() ?? 0,
        entropy: noGrad(() => entropies_N.detach().sum().item()),
        mismatch: mismatch.reduce((sum, value) => sum + value, 0),
        mismatchMax: mismatch.reduce((most, value) => Math.max(most, value), 0),
      };
      return loss;
    },
  );
  return { ...sums!, loss: loss.item() };
}

/** The engine's log-probabilities in the micro-batch's order of tokens. */
function gathered(
  batch: MicroBatch,
  sequences: readonly PolicySequence[],
  read: (sequence: PolicySequence) => readonly number[],
): Float32Array {
  return Float32Array.from(batch.order.flatMap((i) => read(sequences[i]!)));
}

/** min(pi_old / mu, cap) a token: mu is the distribution that was really sampled from. */
function importance(oldLogps_N: Tensor, samplingLogps_N: Tensor): Tensor {
  return noGrad(() => oldLogps_N.detach().sub(samplingLogps_N).exp().clamp(null, importanceCap));
}
