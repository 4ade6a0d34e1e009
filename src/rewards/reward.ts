/** Owns the types of judging: a Verdict, a reward function and a Scored rollout. Knows no task. */

import type { Problem } from '../data/problem.ts';
import type { Rollout } from '../rollouts/rollout.ts';

/** Three values: `unverifiable` (timeout, unparseable reference) is counted and never a silent 0. */
export type Verdict = 'correct' | 'incorrect' | 'unverifiable';

/** A verdict with the short stable word that says why (`correct`, `not-24`, `wrong-numbers`, `no-answer`, ...). */
export interface Judgement {
  readonly verdict: Verdict;
  readonly reason: string;
  /** What was judged, as extracted from the completion; '' where nothing was found. */
  readonly extracted: string;
}

/** What a reward function sees. */
export interface Sample {
  readonly problem: Problem;
  readonly rollout: Rollout;
}

/** A reward: a number, or null where it cannot be known (design section 4 says what null does). */
export type Score = number | null;

/** A reward of one completion. It may take its time; `signal` is aborted when its time is up. */
export type RewardFunction = (sample: Sample, signal?: AbortSignal) => Score | Promise<Score>;

/** Rewards of all completions of one problem, in their order. */
export type GroupRewardFunction = (
  samples: readonly Sample[],
  signal?: AbortSignal,
) => readonly Score[] | Promise<readonly Score[]>;

/** A named reward and its factor in the sum. */
export interface Reward {
  readonly name: string;
  readonly weight: number;
  readonly score: RewardFunction;
  /** Where it is there, it is called once for each group, and `score` is not. */
  readonly scoreGroup?: GroupRewardFunction | undefined;
  /** What a null counts as in the sum; without it a null makes the sum null. */
  readonly missing?: number | undefined;
  /** What an exception, a late answer or NaN does: ends the run with its name and sample (default), or is a null. */
  readonly onError?: 'fail' | 'missing' | undefined;
  /** Milliseconds that a call may take; by default none is counted. */
  readonly timeout?: number | undefined;
}

/** A rollout with its reward, the reward's parts by name, its verdict and whether it keeps the task's format. */
export interface Scored {
  readonly rollout: Rollout;
  readonly reward: Score;
  readonly parts: Readonly<Record<string, Score>>;
  readonly judgement: Judgement;
  readonly formatOk: boolean;
}
