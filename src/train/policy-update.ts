/** Owns the gradient of the policy loss over micro-batches, and the numbers that say how the update went. */

import {
  backwardThroughLogps,
  highEntropyMask,
  type ImportanceOptions,
  importanceWeights,
  type PolicyGradientOptions,
  policyGradientLoss,
  type Rows,
  type TokenLogpOptions,
  type TokenLogps,
  tokenLogps,
} from '../losses/index.ts';
import type { Decoder } from '../models/index.ts';
import { fromBytes, ids, noGrad, scope, type Tensor, where } from '../torch/index.ts';
import {
  gathered,
  learnedTokens,
  type MicroBatch,
  paddingShare,
  predictingStates,
  spread,
  type TrainingSequence,
  trainingStates,
} from './micro-batches.ts';

/** Truncated importance sampling where a recipe is silent (Yao et al. 2025). */
export const defaultImportance: ImportanceOptions = { level: 'token', beyond: 'truncate', max: 2 };

/** A rollout with the advantage of its every token. */
export interface PolicySequence extends TrainingSequence {
  readonly advantage: number;
  /** One a token, in place of one for all. */
  readonly tokenAdvantages?: readonly number[];
  /**
   * From the engine: at the sampling temperature (empty where it did not say: not compared), and under the truncated
   * distribution that was sampled.
   */
  readonly logps: readonly number[];
  readonly samplingLogps: readonly number[];
  /** Sampled from an earlier policy (replay): its tokens get importance weights and are not compared with the engine. */
  readonly replayed?: boolean;
  /** Nothing is known of what it is worth: no entropy bonus either, though its tokens stay in the denominator. */
  readonly unscored?: boolean;
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
  /** Ids that the policy's distribution is over; all rows of its head by default. */
  readonly vocabulary?: number | undefined;
  /** The sampler is another distribution (top-p, rounded weights, servers), so importance weights correct for it. */
  readonly truncated: boolean;
  readonly loss: PolicyUpdateOptions;
  /** Added to the loss of a micro-batch, by its place among the batches: a value head's, from the same hidden states. */
  readonly alsoLoss?: (hidden_ND: Tensor, place: number) => Tensor;
}

/** The loss, and what only a whole optimizer batch can say. */
export interface PolicyUpdateOptions extends PolicyGradientOptions {
  /** Of tokens whose sampler is not the policy before the updates; by default truncated at 2, token by token. */
  readonly importance?: ImportanceOptions;
  /** Share of the batch's tokens, those of highest entropy, whose policy term counts; 1, the default, is all. */
  readonly topEntropyShare?: number;
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
  /** Tokens that the policy of now sampled, and over them |logp engine - logp trainer|. */
  readonly compared: number;
  readonly mismatch: number;
  readonly mismatchMax: number;
  /** Of the importance weights, as bounded: their sum over tokens, and the largest; null where none are used. */
  readonly importance: { readonly sum: number; readonly max: number } | null;
}

/** Accumulates the gradient of one optimizer batch into the policy's parameters. */
export function accumulatePolicyGradient(update: PolicyUpdate): UpdateSums {
  const uncertain = uncertainTokens(update);
  const counted = uncertain
    ? uncertain.flatMap((mask) => [...mask]).reduce((sum, value) => sum + value, 0)
    : update.batches.reduce((sum, batch) => sum + batch.targets.length, 0);
  const sums = update.batches.map((_, i) =>
    scope(() => oneMicroBatch(update, i, uncertain?.[i] ?? null, counted)),
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
    compared: total((one) => one.compared),
    mismatch: total((one) => one.mismatch),
    mismatchMax: Math.max(...sums.map((one) => one.mismatchMax)),
    importance: update.truncated
      ? {
          sum: total((one) => one.importance),
          max: Math.max(...sums.map((one) => one.importanceMax)),
        }
      : null,
  };
}

/** Today's log-probabilities of every micro-batch's completion tokens, in its order, no gradient; over all rows by default. */
export function recordedLogps(
  policy: Decoder,
  batches: readonly MicroBatch[],
  temperature: number,
  vocabulary?: number | undefined,
): Float32Array[] {
  return recorded(policy, batches, { temperature, vocabulary }, ({ logps_N }) => logps_N);
}

/** A minibatch of sequences, cut into micro-batches. */
export type CutMinibatch = Pick<PolicyUpdate, 'sequences' | 'batches'>;

/**
 * Log-probabilities of minibatches under the policy of now, by micro-batch. Where `samplerIsExact`, they are what the sampler
 * recorded, which one micro-batch is computed to confirm; else all are computed, cut as the updates will be.
 */
export function logpsBeforeUpdates(
  policy: Decoder,
  minibatches: readonly CutMinibatch[],
  temperature: number,
  samplerIsExact: boolean,
  vocabulary?: number,
): Float32Array[][] {
  const probe = minibatches[0]?.batches[0];
  if (samplerIsExact && probe) {
    const sampled = minibatches.map(sampledLogps);
    const [computed] = recordedLogps(policy, [probe], temperature, vocabulary);
    const isSame = sampled[0]?.[0]?.every((logp, i) => logp === computed![i]) ?? false;
    if (isSame && sampled.every((one) => one !== null)) return sampled;
  }
  return minibatches.map(({ batches }) => recordedLogps(policy, batches, temperature, vocabulary));
}

/** What the sampler recorded; null where a sequence is of an earlier policy, or nothing was said of it. */
function sampledLogps({ sequences, batches }: CutMinibatch): Float32Array[] | null {
  if (!sequences.every((one) => isSaid(one) && !one.replayed)) return null;
  return batches.map((batch) => gathered(batch, sequences, (one) => one.logps));
}

function recorded(
  policy: Decoder,
  batches: readonly MicroBatch[],
  distribution: TokenLogpOptions,
  read: (values: TokenLogps) => Tensor,
): Float32Array[] {
  return batches.map((batch) =>
    noGrad(() =>
      scope(() => {
        const { hidden_ND, targets_N } = predictingStates(policy, batch);
        return read(tokenLogps(hidden_ND, policy.headWeight, targets_N, distribution)).toFloat32();
      }),
    ),
  );
}

/** 1 for the tokens of highest entropy in the whole optimizer batch, by micro-batch; null where all count. */
function uncertainTokens({
  policy,
  batches,
  temperature,
  vocabulary,
  loss,
}: PolicyUpdate): Float32Array[] | null {
  const { topEntropyShare = 1 } = loss;
  if (topEntropyShare >= 1) return null;
  const entropies = recorded(policy, batches, { temperature, vocabulary }, (values) => values.entropies_N);
  const mask = highEntropyMask(
    entropies.flatMap((values) => [...values]),
    topEntropyShare,
  );
  let start = 0;
  return entropies.map((values) => {
    const own = Float32Array.from(mask.subarray(start, start + values.length));
    start += values.length;
    return own;
  });
}

type MicroSums = Record<
  | 'loss'
  | 'targets'
  | 'ratio'
  | 'clipped'
  | 'kl'
  | 'entropy'
  | 'compared'
  | 'mismatch'
  | 'mismatchMax'
  | 'importance'
  | 'importanceMax',
  number
>;

function oneMicroBatch(
  update: PolicyUpdate,
  place: number,
  uncertain: Float32Array | null,
  counted: number,
): MicroSums {
  const { policy, reference, sequences, temperature, vocabulary } = update;
  const { device } = policy;
  const batch = update.batches[place]!;
  const recorded = update.oldLogps?.[place] ?? null;
  const floats = (values: Float32Array) => fromBytes(values, 'f32', [values.length]).to('f32', device);
  const engine = gathered(batch, sequences, (one) =>
    isSaid(one) ? one.logps : one.completionIds.map(() => 0),
  );
  const fresh = spread(
    batch,
    sequences,
    sequences.map((one) => Number(isSaid(one) && !one.replayed)),
  );
  const referenceLogps_N =
    reference && floats(recordedLogps(reference, [batch], temperature, vocabulary)[0]!);
  const advantages_N = floats(gathered(batch, sequences, tokenAdvantages));
  const weights_N = floats(spread(batch, sequences, update.weights));
  const rows = rowsOf(batch, sequences, device);
  const uncertain_N = uncertain && floats(uncertain);
  const bonusWeights = () => {
    const even = sequences.map((one) => (one.unscored ? 0 : 1 / counted));
    const even_N = floats(spread(batch, sequences, even));
    return uncertain_N?.mul(even_N) ?? even_N;
  };
  const { hidden_ND, targets_N, close } = trainingStates(policy, batch);
  let sums: MicroSums | undefined;
  const loss = backwardThroughLogps(
    hidden_ND,
    policy.headWeight,
    targets_N,
    { temperature, vocabulary },
    ({ logps_N, entropies_N }, hidden_ND) => {
      const oldLogps_N = recorded ? floats(recorded) : logps_N.detach();
      const samplingLogps_N = samplersLogps(update, batch, oldLogps_N);
      const bounds = update.loss.importance ?? defaultImportance;
      const importance_N = samplingLogps_N && importanceWeights(oldLogps_N, samplingLogps_N, bounds, rows);
      const { loss, sums: parts } = policyGradientLoss(
        {
          logps_N,
          oldLogps_N,
          referenceLogps_N,
          advantages_N,
          weights_N,
          rows,
          ...(uncertain_N ? { policyWeights_N: uncertain_N } : {}),
          ...(importance_N ? { importance: { weights_N: importance_N, level: bounds.level } } : {}),
          ...(samplingLogps_N ? { samplingLogps_N } : {}),
          ...(update.loss.entropyCoefficient ? { entropies_N, entropyWeights_N: bonusWeights() } : {}),
        },
        update.loss,
      );
      const mismatch = noGrad(() => oldLogps_N.sub(floats(engine)).toFloat32())
        .map(Math.abs)
        .filter((_, t) => fresh[t] === 1);
      const weighed = update.truncated && importance_N ? [...importance_N.toFloat32()] : [];
      sums = {
        loss: 0,
        targets: batch.targets.length,
        ratio: parts.ratio.item(),
        clipped: parts.clipped.item(),
        kl: parts.kl?.item() ?? 0,
        entropy: noGrad(() => entropies_N.detach().sum().item()),
        compared: mismatch.length,
        mismatch: mismatch.reduce((sum, value) => sum + value, 0),
        mismatchMax: mismatch.reduce((most, value) => Math.max(most, value), 0),
        importance: weighed.reduce((sum, value) => sum + value, 0),
        importanceMax: weighed.reduce((most, value) => Math.max(most, value), 0),
      };
      return update.alsoLoss ? loss.add(update.alsoLoss(hidden_ND, place)) : loss;
    },
  );
  close();
  return { ...sums!, loss: loss.item() };
}

function isSaid({ logps, completionIds }: PolicySequence): boolean {
  return logps.length === completionIds.length;
}

/**
 * What the tokens were sampled with, where importance weights are needed: by a sampler that left tokens out, or by an
 * earlier policy. In the second case tokens of the policy of now have its own, so that their weight is 1.
 */
function samplersLogps(
  { sequences, truncated }: PolicyUpdate,
  batch: MicroBatch,
  oldLogps_N: Tensor,
): Tensor | null {
  const replayed = batch.order.some((i) => sequences[i]!.replayed);
  if (!truncated && !replayed) return null;
  const { device } = oldLogps_N;
  const floats = (values: Float32Array) => fromBytes(values, 'f32', [values.length]).to('f32', device);
  const samplers_N = floats(gathered(batch, sequences, (one) => one.samplingLogps));
  if (truncated) return samplers_N;
  const flags = spread(
    batch,
    sequences,
    sequences.map((one) => Number(one.replayed ?? false)),
  );
  return where(floats(flags).gt(0), samplers_N, oldLogps_N);
}

function tokenAdvantages(sequence: PolicySequence): readonly number[] {
  return sequence.tokenAdvantages ?? new Array<number>(learnedTokens(sequence)).fill(sequence.advantage);
}

/** Which sequence each token is of. */
function rowsOf(batch: MicroBatch, sequences: readonly PolicySequence[], device: string): Rows {
  const owners = batch.order.flatMap((i, row) => new Array<number>(learnedTokens(sequences[i]!)).fill(row));
  return { rows_N: ids(owners, undefined, device), count: batch.order.length };
}
