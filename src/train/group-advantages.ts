/**
 * Owns how the rewards of a step's groups become the advantages of its sequences: KL taken from the reward, the estimator
 * by its name, one number a completion or one a token. Changes no model.
 */

import {
  type AdvantageOptions,
  estimateAdvantages,
  type GroupAdvantages,
  type MaybeReward,
  type RewardBatch,
  type RunningState,
  returnAdvantages,
} from '../advantages/index.ts';
import { type KlEstimator, klPerToken } from '../losses/index.ts';
import { type Decoder, padIdOf } from '../models/index.ts';
import type { RewardWeights, ScoredGroup } from '../rewards/index.ts';
import type { Rollout } from '../rollouts/index.ts';
import { fromBytes, scope } from '../torch/index.ts';
import { cutMicroBatches, scattered } from './micro-batches.ts';
import { type PolicyUpdate, recordedLogps } from './policy-update.ts';
import type { EndedSequence } from './replay.ts';
import type { TokenScores } from './rollout-lines.ts';
import type { Session } from './session.ts';

/** Where the KL to the reference counts: in the loss, in the reward of a completion, or in that of each token. */
export type KlPlace = 'loss' | 'reward' | 'tokens';

export interface GroupAdvantageOptions {
  readonly advantages: Omit<AdvantageOptions, 'whiten'> & {
    /** Brings the batch's advantages to mean 0 and std 1: those of completions, or those of all tokens (REINFORCE++). */
    readonly whiten?: boolean | 'tokens' | undefined;
  };
  readonly kl: { readonly beta: number; readonly estimator: KlEstimator };
  readonly klPlace: KlPlace;
  readonly microBatchTokens: number;
}

/** What counts where a reward is not known, as in the weighted sum; without it nothing does. */
type StandIns = readonly { readonly name: string; readonly missing?: number | undefined }[];

/** What log-probabilities are of; by default over all rows of the head. */
type Distribution = Pick<PolicyUpdate, 'temperature' | 'vocabulary'>;

/** The sequences of each group with their advantages, and what is logged of them. */
export interface AdvantagedGroups {
  readonly sequences: readonly (readonly EndedSequence[])[];
  readonly summary: GroupAdvantages;
  /** The advantages by token, where tokens of one completion differ. */
  readonly tokens: TokenScores | null;
}

/** Advantages of a step's groups, whose rewards are weighted sums by `weights`; a running state is the session's. */
export function advantagesOfGroups(
  session: Session,
  groups: readonly ScoredGroup[],
  weights: RewardWeights,
  reference: Decoder | null,
  options: GroupAdvantageOptions & Distribution & { readonly rewards?: StandIns },
): AdvantagedGroups {
  const { klPlace, kl } = options;
  const rollouts = groups.flatMap(({ scored }) => scored.map((one) => one.rollout));
  const inReward = klPlace !== 'loss' && kl.beta !== 0 && reference;
  const perToken = inReward ? klOfTokens(session.policy, reference, rollouts, options) : null;
  const byToken = klPlace === 'tokens' || options.advantages.whiten === 'tokens';

  const batch = rewardBatch(groups, weights, options.rewards);
  const totals = perToken && klPlace === 'reward' ? penalised(batch.totals, perToken, kl.beta) : batch.totals;
  const whiten = options.advantages.whiten === true && !byToken;
  const before = (session.extra['running'] ?? null) as RunningState | null;
  const found = estimateAdvantages({ ...batch, totals }, { ...options.advantages, whiten }, before);
  if (found.running) session.extra['running'] = found.running;

  const values = found.advantages.flat();
  const scores = totals.flat().map((reward, i) => (reward === null ? null : values[i]!));
  const lengths = rollouts.map((one) => one.completionIds.length);
  const tokens = byToken
    ? returnAdvantages(scores, lengths, klPlace === 'tokens' ? perToken : null, {
        klCoefficient: kl.beta,
        gamma: 1,
        whiten: Boolean(options.advantages.whiten),
      })
    : null;
  return {
    sequences: sequencesOf(groups, found.advantages, tokens),
    summary: found,
    tokens: tokens && { kind: 'advantage', values: tokens },
  };
}

function sequencesOf(
  groups: readonly ScoredGroup[],
  advantages: readonly (readonly number[])[],
  tokens: readonly (readonly number[])[] | null,
): EndedSequence[][] {
  let next = 0;
  return groups.map(({ scored }, g) =>
    scored.map(({ rollout }, i) => {
      const tokenAdvantages = tokens?.[next++];
      const advantage = advantages[g]![i]!;
      return tokenAdvantages ? { ...rollout, advantage, tokenAdvantages } : { ...rollout, advantage };
    }),
  );
}

/** Rewards as estimators of advantages take them. */
function rewardBatch(
  groups: readonly ScoredGroup[],
  weights: RewardWeights,
  rewards: StandIns = [],
): RewardBatch {
  const names = Object.keys(weights);
  const missing = new Map(rewards.map((reward) => [reward.name, reward.missing ?? null]));
  return {
    totals: groups.map(({ scored }) => scored.map((one) => one.reward)),
    parts: groups.map(({ scored }) =>
      scored.map((one) => names.map((name): MaybeReward => one.parts[name] ?? missing.get(name) ?? null)),
    ),
    weights: Object.values(weights),
  };
}

/** The totals less beta times each completion's KL, summed over its tokens (RLOO). */
function penalised(
  totals: RewardBatch['totals'],
  kl: readonly (readonly number[])[],
  beta: number,
): MaybeReward[][] {
  const sums = kl.map((row) => row.reduce((sum, value) => sum + value, 0));
  let next = 0;
  return totals.map((group) =>
    group.map((reward) => {
      const sum = sums[next++]!;
      return reward === null ? null : reward - beta * sum;
    }),
  );
}

/** Estimates of KL(policy || reference) of every token of completions that the policy sampled. */
function klOfTokens(
  policy: Decoder,
  reference: Decoder,
  rollouts: readonly Rollout[],
  {
    kl,
    temperature,
    vocabulary,
    microBatchTokens,
  }: Pick<GroupAdvantageOptions, 'kl' | 'microBatchTokens'> & Distribution,
): number[][] {
  const batches = cutMicroBatches(rollouts, microBatchTokens, padIdOf(policy));
  const [ours, theirs] = [policy, reference].map((model) =>
    recordedLogps(model, batches, temperature, vocabulary),
  );
  const estimates = ours!.map((own, b) => klOfLogps(own, theirs![b]!, kl.estimator));
  return scattered(batches, rollouts, estimates);
}

/** Estimates of KL(policy || reference) a token from log-probabilities of both. */
export function klOfLogps(ours: Float32Array, theirs: Float32Array, estimator: KlEstimator): Float32Array {
  return scope(() => {
    const [logps_N, referenceLogps_N] = [ours, theirs].map((one) => fromBytes(one, 'f32', [one.length]));
    return klPerToken(logps_N!, referenceLogps_N!, estimator).toFloat32();
  });
}
