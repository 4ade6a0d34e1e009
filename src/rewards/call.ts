/** Owns one call of a reward function: its time, its errors, and what they lead to. Sums nothing. */

import { messageOf, ReckonError } from '../util/errors.ts';
import { timerMs } from '../util/timer.ts';
import type { Reward, Sample, Score } from './reward.ts';
import { LateReward } from './user-reward.ts';

/**
 * The scores of these samples (one, unless the reward takes whole groups). An exception, a late answer, NaN or anything
 * that is no score follows `onError`: an error that names the reward and the sample, or null for each.
 */
export async function callReward(reward: Reward, samples: readonly Sample[]): Promise<readonly Score[]> {
  if (samples.length === 0) return [];
  try {
    const scores = await timed(reward, samples);
    if (scores.length !== samples.length)
      throw failure(
        reward,
        samples,
        'reward-failed',
        `expected ${samples.length} scores, found ${scores.length}`,
      );
    scores.forEach((score, i) => {
      if (score !== null && !Number.isFinite(score)) throw notFinite(reward, score, samples[i]!);
    });
    return scores;
  } catch (error) {
    if (reward.onError === 'missing') return samples.map(() => null);
    if (error instanceof ReckonError && /^(?:reward|module)-/.test(error.code)) throw error;
    if (error instanceof LateReward) throw failure(reward, samples, 'reward-late', messageOf(error));
    throw failure(reward, samples, 'reward-failed', messageOf(error), error);
  }
}

async function timed(reward: Reward, samples: readonly Sample[]): Promise<readonly Score[]> {
  const { timeout } = reward;
  if (timeout === undefined) return await called(reward, samples);
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      controller.abort();
      reject(failure(reward, samples, 'reward-late', `it took more than ${timeout} ms`));
    }, timerMs(timeout));
  });
  try {
    return await Promise.race([called(reward, samples, controller.signal), late]);
  } finally {
    clearTimeout(timer);
  }
}

async function called(
  { score, scoreGroup }: Reward,
  samples: readonly Sample[],
  signal?: AbortSignal,
): Promise<readonly Score[]> {
  if (scoreGroup) return await scoreGroup(samples, signal);
  return [await score(samples[0]!, signal)];
}

function notFinite(reward: Reward, score: unknown, { problem, rollout }: Sample): ReckonError {
  return new ReckonError(
    'run',
    'reward-not-finite',
    `Expected reward '${reward.name}' to be finite or null, found ${String(score)} for sample ${rollout.sampleIndex} of ${problem.id}; return null where it cannot be known.`,
  );
}

function failure(
  reward: Reward,
  samples: readonly Sample[],
  code: 'reward-failed' | 'reward-late',
  what: string,
  cause?: unknown,
): ReckonError {
  const [{ problem, rollout }] = samples as [Sample];
  const of = samples.length === 1 ? `sample ${rollout.sampleIndex}` : `the ${samples.length} samples`;
  const message = `reward '${reward.name}' failed on ${of} of ${problem.id}: ${what}; mend it, or give it \`onError: missing\``;
  return new ReckonError('run', code, message, { cause });
}
