/**
 * Owns what PPO knows of a step's completions before it learns from them: log-probabilities, values, KL to the reference,
 * a reward and an advantage for every token. Changes no model.
 */

import { gae, tokenRewards, whiten } from '../advantages/index.ts';
import { type KlEstimator, tokenLogps } from '../losses/index.ts';
import { type Decoder, padIdOf, type ValueHead } from '../models/index.ts';
import type { Rollout } from '../rollouts/index.ts';
import { noGrad, scope } from '../torch/index.ts';
import type { ValuedSequence } from './critic.ts';
import { klOfLogps } from './group-advantages.ts';
import { cutMicroBatches, type MicroBatch, predictingStates, scattered } from './micro-batches.ts';
import { type PolicySequence, recordedLogps } from './policy-update.ts';

export interface ExperienceOptions {
  /** Discount; 1 for reasoning, where the answer at the end counts in full. */
  readonly gamma: number;
  /** Of generalised advantage estimation: 1 Monte Carlo, 0 one-step differences. */
  readonly lambda: number;
  readonly whitenAdvantages: boolean;
  /**
   * What a completion is that was cut off at the length limit: `ends` takes it as ended, with its score; `bootstrap` takes
   * the value of the state after it in place of a score, which it has not earned yet. Both at once would count twice.
   */
  readonly truncated: 'ends' | 'bootstrap';
  /** Of the penalty a token. */
  readonly klEstimator: KlEstimator;
}

/** The models that look at completions. */
export interface Observers {
  readonly policy: Decoder;
  readonly head: ValueHead;
  /** What the head reads, where that is not the policy. */
  readonly trunk?: Decoder | null;
  readonly reference: Decoder | null;
  readonly temperature: number;
  /** Ids that the distributions are over; all rows of the head by default. */
  readonly vocabulary?: number | undefined;
  readonly microBatchTokens: number;
}

/** What models say of a completion; one number a token. */
export interface Observation {
  readonly oldLogps: readonly number[];
  readonly values: readonly number[];
  /** Estimates of KL(policy || reference); null without a reference. */
  readonly kl: readonly number[] | null;
  /** Value of the state after the last token, which goes on; null where the completion counts as ended. */
  readonly lastValue: number | null;
}

/** A completion that PPO learns from. */
export interface Experience extends PolicySequence, ValuedSequence, Observation {
  readonly tokenAdvantages: readonly number[];
}

/**
 * Observes completions batch by batch. `groups` are lists of places that cover all completions: cut as the first epoch's
 * updates will be, so that ratios begin at 1.
 */
export function observe(
  observers: Observers,
  rollouts: readonly Rollout[],
  groups: readonly (readonly number[])[],
  { klEstimator, truncated }: Pick<ExperienceOptions, 'klEstimator' | 'truncated'>,
): Observation[] {
  const { reference, temperature, vocabulary } = observers;
  const lastValues = truncated === 'bootstrap' ? valuesAfter(observers, rollouts) : new Map<number, number>();
  const found = new Array<Observation>(rollouts.length);
  for (const places of groups) {
    const sequences = places.map((i) => rollouts[i]!);
    const batches = cutFor(observers, sequences);
    const seen = batches.map((batch) => look(observers, batch));
    const of = (values: readonly Float32Array[]) => scattered(batches, sequences, values);
    const oldLogps = of(seen.map((one) => one.logps));
    const values = of(seen.map((one) => one.values));
    const kl =
      reference &&
      of(
        recordedLogps(reference, batches, temperature, vocabulary).map((theirs, b) =>
          klOfLogps(seen[b]!.logps, theirs, klEstimator),
        ),
      );
    places.forEach((i, j) => {
      found[i] = {
        oldLogps: oldLogps[j]!,
        values: values[j]!,
        kl: kl?.[j] ?? null,
        lastValue: lastValues.get(i) ?? null,
      };
    });
  }
  return found;
}

/**
 * Rewards and advantages of every token. A completion without a score (null) teaches nothing: its advantages are 0, its
 * values are not learned, and it does not count in the whitening.
 */
export function experienceOf(
  rollouts: readonly Rollout[],
  observations: readonly Observation[],
  scores: readonly (number | null)[],
  dense: readonly (readonly number[])[] | null,
  klCoefficient: number,
  { gamma, lambda, whitenAdvantages }: ExperienceOptions,
): Experience[] {
  const estimates = observations.map(({ values, kl, lastValue }, i) => {
    if (scores[i] === null) return { advantages: values.map(() => 0), returns: values };
    const score = lastValue === null ? scores[i]! : null;
    const parts = { score, kl: kl ?? undefined, dense: dense?.[i] };
    const rewards = tokenRewards(values.length, parts, { klCoefficient });
    return gae(rewards, values, { gamma, lambda, lastValue: lastValue ?? 0 });
  });
  const mask = estimates.flatMap(({ advantages }, i) => advantages.map(() => Number(scores[i] !== null)));
  const raw = estimates.flatMap(({ advantages }) => advantages);
  const shaped = whitenAdvantages && mask.includes(1) ? whiten(raw, {}, mask) : raw;
  let next = 0;
  return rollouts.map((rollout, i) => {
    const start = next;
    next += rollout.completionIds.length;
    return {
      ...rollout,
      ...observations[i]!,
      returns: estimates[i]!.returns,
      advantage: 0,
      tokenAdvantages: shaped.slice(start, next),
      ...(scores[i] === null ? { unscored: true } : {}),
    };
  });
}

/** Values of the states after completions that were cut off, by place. */
function valuesAfter(observers: Observers, rollouts: readonly Rollout[]): Map<number, number> {
  const padId = padIdOf(observers.policy);
  const cutOff = rollouts.map((_, i) => i).filter((i) => !endedByItself(rollouts[i]!));
  const sequences = cutOff.map((i) => {
    const { promptIds, completionIds } = rollouts[i]!;
    const learned = [...completionIds.map(() => false), true];
    // The token more is not read: the state before it is the one after the completion.
    return { promptIds, completionIds: [...completionIds, padId], learned };
  });
  const batches = cutFor(observers, sequences);
  const values = scattered(
    batches,
    sequences,
    batches.map((batch) => valuesOf(observers, batch)),
  );
  return new Map(cutOff.map((i, j) => [i, values[j]![0]!]));
}

function endedByItself({ stopReason }: Rollout): boolean {
  return stopReason === 'eos' || stopReason === 'stop';
}

function cutFor(
  { policy, microBatchTokens }: Observers,
  sequences: Parameters<typeof cutMicroBatches>[0],
): MicroBatch[] {
  return cutMicroBatches(sequences, microBatchTokens, padIdOf(policy));
}

/** Log-probabilities and values of a micro-batch's completion tokens, from one pass where the head reads the policy. */
function look(
  observers: Observers,
  batch: MicroBatch,
): { readonly logps: Float32Array; readonly values: Float32Array } {
  const { policy, head, trunk, temperature, vocabulary } = observers;
  return noGrad(() =>
    scope(() => {
      const { hidden_ND, targets_N } = predictingStates(policy, batch);
      const asked = { temperature, vocabulary };
      const { logps_N } = tokenLogps(hidden_ND, policy.headWeight, targets_N, asked);
      const values = trunk ? valuesOf(observers, batch) : head.forward(hidden_ND).toFloat32();
      return { logps: logps_N.toFloat32(), values };
    }),
  );
}

function valuesOf({ policy, trunk, head }: Observers, batch: MicroBatch): Float32Array {
  return noGrad(() =>
    scope(() => head.forward(predictingStates(trunk ?? policy, batch).hidden_ND).toFloat32()),
  );
}
