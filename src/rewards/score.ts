/** Owns the judging of whole groups: every rollout gets its verdict, its reward and the reward's parts. */

import type { Group } from '../rollouts/rollout.ts';
import { combine } from './combine.ts';
import type { Reward, Scored } from './reward.ts';
import type { Task } from './task.ts';

/** All scored rollouts of one problem. */
export interface ScoredGroup {
  readonly problem: Group['problem'];
  readonly scored: readonly Scored[];
}

/** Judges and rewards every rollout, in order. */
export function scoreGroups(task: Task, rewards: readonly Reward[], groups: readonly Group[]): ScoredGroup[] {
  return groups.map(({ problem, rollouts }) => ({
    problem,
    scored: rollouts.map((rollout) => ({
      rollout,
      ...combine(rewards, { problem, rollout }),
      ...task.judge(problem, rollout.text),
    })),
  }));
}
