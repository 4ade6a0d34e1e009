/** Owns the Rollout, a completion that is learned from, and the Group of one problem. Knows no reward. */

import type { Problem } from '../data/problem.ts';
import type { Completion } from '../generate/index.ts';

export type { StopReason } from '../generate/index.ts';

/** One sampled completion as the engine made it. */
export type Rollout = Completion;

/** All rollouts of one problem. */
export interface Group {
  readonly problem: Problem;
  readonly rollouts: readonly Rollout[];
}
