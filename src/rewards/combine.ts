/** Owns the weighted sum of rewards. Knows no task and no advantage. */

import { ReckonError } from '../util/errors.ts';
import type { Reward, Sample } from './reward.ts';

/** A total with its parts by name, unweighted; null means unknown and is never a silent 0. */
export interface CombinedReward {
  readonly reward: number | null;
  readonly parts: Readonly<Record<string, number | null>>;
}

/**
 * The weighted sum of all rewards of a sample. A null in one component makes the total null, unless its weight is 0
 * (a component that is only watched). Throws `duplicate-reward` for a repeated name and `reward-not-finite` for NaN
 * or an infinity.
 */
export function combine(rewards: readonly Reward[], sample: Sample): CombinedReward {
  const parts: Record<string, number | null> = {};
  let total: number | null = 0;
  for (const reward of rewards) {
    if (Object.hasOwn(parts, reward.name)) throw duplicate(reward.name);
    const score = reward.score(sample);
    if (score !== null && !Number.isFinite(score)) throw notFinite(reward.name, score, sample);
    parts[reward.name] = score;
    if (reward.weight === 0 || total === null) continue;
    total = score === null ? null : total + reward.weight * score;
  }
  return { reward: total, parts };
}

function duplicate(name: string): ReckonError {
  return new ReckonError(
    'recipe',
    'duplicate-reward',
    `Expected rewards of different names, found '${name}' twice; rename or remove one.`,
  );
}

function notFinite(name: string, score: number, sample: Sample): ReckonError {
  return new ReckonError(
    'run',
    'reward-not-finite',
    `Expected reward '${name}' to be finite or null, found ${score} for sample ${sample.rollout.sampleIndex} of ${sample.problem.id}; return null where it cannot be known.`,
  );
}
