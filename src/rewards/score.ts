/** Owns the judging of whole groups: every rollout gets its verdict, its reward and the reward's parts. */

import type { Group } from '../rollouts/rollout.ts';
import { combineGroups } from './combine.ts';
import type { Reward, Scored } from './reward.ts';
import type { Task } from './task.ts';

/** All scored rollouts of one problem. */
export interface ScoredGroup {
  readonly problem: Group['problem'];
  readonly scored: readonly Scored[];
}

/** Judges and rewards every rollout, in order; all are judged before the first is rewarded. */
export async function scoreGroups(
  task: Task,
  rewards: readonly Reward[],
  groups: readonly Group[],
): Promise<ScoredGroup[]> {
  const judged = await Promise.all(
    groups.map(({ problem, rollouts }) =>
      Promise.all(rollouts.map((rollout) => task.judge(problem, rollout.text))),
    ),
  );
  const rewarded = await combineGroups(
    rewards,
    groups.map(({ problem, rollouts }) => rollouts.map((rollout) => ({ problem, rollout }))),
  );
  return groups.map(({ problem, rollouts }, g) => ({
    problem,
    scored: rollouts.map((rollout, i) => ({ rollout, ...rewarded[g]![i]!, ...judged[g]![i]! })),
  }));
}
