/** Owns the running normalisation of rewards with momentum (LLM4Game24, `max_momentum`), its state as plain JSON. */

import { mean, std } from '../util/statistics.ts';
import type { MaybeReward } from './group.ts';
import { scaled } from './scaled.ts';

/** Mean and standard deviation as they stand, and how much of them the next group leaves. */
export interface RunningState {
  readonly mean: number;
  readonly std: number;
  readonly momentum: number;
}

/**
 * Each group's mean and std (ddof 1) move the running ones, of which a share m stays; m rises from 0 by 0.1 a group up
 * to `maxMomentum`; A = (r - mean) / (std + 1e-4). With `maxMomentum` 0 that is GRPO. A null reward has advantage 0, and
 * so has a group with fewer than two scores, which moves nothing.
 */
export function runningAdvantages(
  rewards: readonly (readonly MaybeReward[])[],
  state: RunningState | null,
  { maxMomentum, epsilon = 1e-4 }: { readonly maxMomentum: number; readonly epsilon?: number },
): { readonly advantages: number[][]; readonly state: RunningState | null } {
  let now = state;
  const advantages = rewards.map((group) => {
    const scores = group.filter((reward) => reward !== null);
    if (scores.length < 2) return group.map(() => 0);
    now = moved(now, mean(scores), std(scores, 1), maxMomentum);
    const { mean: centre, std: spread } = now;
    return group.map((reward) => (reward === null ? 0 : scaled(reward - centre, spread + epsilon)));
  });
  return { advantages, state: now };
}

function moved(state: RunningState | null, centre: number, spread: number, most: number): RunningState {
  const m = state?.momentum ?? 0;
  return {
    mean: state ? m * state.mean + (1 - m) * centre : centre,
    std: state ? m * state.std + (1 - m) * spread : spread,
    momentum: Math.min(most, m + 0.1),
  };
}
