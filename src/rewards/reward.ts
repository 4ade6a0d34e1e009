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

/** A named reward: a number, or null where it cannot be known (design section 4 says what null does). */
export interface Reward {
  readonly name: string;
  readonly weight: number;
  readonly score: (sample: Sample) => number | null;
}

/** A rollout with its reward, the reward's parts by name, its verdict and whether it keeps the task's format. */
export interface Scored {
  readonly rollout: Rollout;
  readonly reward: number | null;
  readonly parts: Readonly<Record<string, number | null>>;
  readonly judgement: Judgement;
  readonly formatOk: boolean;
}
