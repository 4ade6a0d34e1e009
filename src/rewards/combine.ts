/** Owns the weighted sum of rewards. Knows no task and no advantage. */

import { ReckonError } from '../util/errors.ts';
import { callReward } from './call.ts';
import type { Reward, Sample, Score } from './reward.ts';

/** A total with its parts by name, unweighted; null means unknown and is never a silent 0. */
export interface CombinedReward {
  readonly reward: Score;
  readonly parts: Readonly<Record<string, Score>>;
}

/** Calls that may wait at the same time, for each reward. */
const IN_FLIGHT = 64;

/**
 * The weighted sum of all rewards of a sample. A null in one component makes the total null, unless its weight is 0
 * (a component that is only watched) or it says what counts in its place (`missing`). Throws `duplicate-reward` for a
 * repeated name, `reward-failed` for what a function throws, `reward-late` and `reward-not-finite`.
 */
export async function combine(rewards: readonly Reward[], sample: Sample): Promise<CombinedReward> {
  const [[combined]] = (await combineGroups(rewards, [[sample]])) as [[CombinedReward]];
  return combined;
}

/** `combine` for the samples of every group. Functions that wait do so together; the results keep the samples' order. */
export async function combineGroups(
  rewards: readonly Reward[],
  groups: readonly (readonly Sample[])[],
): Promise<CombinedReward[][]> {
  const names = rewards.map((reward) => reward.name);
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  if (repeated !== undefined) throw duplicate(repeated);
  const scores: Score[][][] = [];
  for (const reward of rewards) scores.push(await scoresOf(reward, groups));
  return groups.map((samples, g) =>
    samples.map((_, i) =>
      total(
        rewards,
        scores.map((groupScores) => groupScores[g]![i]!),
      ),
    ),
  );
}

/** One reward's scores by group; the first failure in the order of the samples is the one that is thrown. */
async function scoresOf(reward: Reward, groups: readonly (readonly Sample[])[]): Promise<Score[][]> {
  if (reward.scoreGroup)
    return await inOrder(groups, (samples) => callReward(reward, samples) as Promise<Score[]>);
  const flat = await inOrder(groups.flat(), async (sample) => (await callReward(reward, [sample]))[0]!);
  let next = 0;
  return groups.map((samples) => samples.map(() => flat[next++]!));
}

/** Runs up to `IN_FLIGHT` calls at a time. Nothing is left running when it throws. */
async function inOrder<T, R>(items: readonly T[], run: (item: T) => Promise<R>): Promise<R[]> {
  const results = new Array<R>(items.length);
  const failures: { readonly at: number; readonly error: unknown }[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < items.length && failures.length === 0) {
      const at = next++;
      try {
        results[at] = await run(items[at]!);
      } catch (error) {
        failures.push({ at, error });
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(IN_FLIGHT, items.length) }, work));
  const first = failures.toSorted((a, b) => a.at - b.at)[0];
  if (first) throw first.error;
  return results;
}

function total(rewards: readonly Reward[], scores: readonly Score[]): CombinedReward {
  let sum: Score = 0;
  rewards.forEach(({ weight, missing }, i) => {
    if (weight === 0 || sum === null) return;
    const score = scores[i] ?? missing ?? null;
    sum = score === null ? null : sum + weight * score;
  });
  return { reward: sum, parts: Object.fromEntries(rewards.map(({ name }, i) => [name, scores[i]!])) };
}

function duplicate(name: string): ReckonError {
  return new ReckonError(
    'recipe',
    'duplicate-reward',
    `Expected rewards of different names, found '${name}' twice; rename or remove one.`,
  );
}
