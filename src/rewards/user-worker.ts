/** Owns the inside of the thread that a user's reward runs in: loads the function, calls it, answers. Keeps no clock. */

import { parentPort, workerData } from 'node:worker_threads';
import { messageOf, ReckonError } from '../util/errors.ts';
import type { GroupRewardFunction, RewardFunction, Sample, Score } from './reward.ts';
import { loadUserReward, type UserRewardOptions } from './user-function.ts';

/** What the thread is told. */
export type ToThread =
  | { readonly type: 'call'; readonly id: number; readonly samples: readonly Sample[] }
  | { readonly type: 'abort'; readonly id: number }
  | { readonly type: 'ping' };

/** What it answers; `started` goes out before the function is called, which may never return. */
export type FromThread =
  | { readonly type: 'ready' }
  | { readonly type: 'pong' }
  | { readonly type: 'broken'; readonly error: ThrownInThread }
  | { readonly type: 'started'; readonly id: number }
  | { readonly type: 'done'; readonly id: number; readonly scores: readonly Score[] }
  | { readonly type: 'failed'; readonly id: number; readonly error: ThrownInThread };

/** An error as it crosses the boundary; `code` where it was one of reckon's. */
export interface ThrownInThread {
  readonly message: string;
  readonly stack: string | null;
  readonly code: string | null;
}

const running = new Map<number, AbortController>();

async function start(options: UserRewardOptions): Promise<void> {
  const port = parentPort!;
  const send = (message: FromThread): void => port.postMessage(message);
  let score: RewardFunction | GroupRewardFunction;
  try {
    score = await loadUserReward(options);
  } catch (error) {
    send({ type: 'broken', error: thrown(error) });
    return;
  }
  port.on('message', (message: ToThread) => {
    if (message.type === 'ping') send({ type: 'pong' });
    else if (message.type === 'abort') running.get(message.id)?.abort();
    else void answer(score, options.perGroup === true, message, send);
  });
  send({ type: 'ready' });
}

async function answer(
  score: RewardFunction | GroupRewardFunction,
  perGroup: boolean,
  { id, samples }: Extract<ToThread, { type: 'call' }>,
  send: (message: FromThread) => void,
): Promise<void> {
  const controller = new AbortController();
  running.set(id, controller);
  send({ type: 'started', id });
  try {
    const scores = perGroup
      ? await (score as GroupRewardFunction)(samples, controller.signal)
      : [await (score as RewardFunction)(samples[0]!, controller.signal)];
    send({ type: 'done', id, scores: plainScores(scores) });
  } catch (error) {
    send({ type: 'failed', id, error: thrown(error) });
  } finally {
    running.delete(id);
  }
}

/** What is no score is sent as NaN, which the caller refuses; it may be nothing that can cross. */
function plainScores(scores: readonly Score[]): Score[] {
  return Array.from(scores, (score) => (score === null || typeof score === 'number' ? score : Number.NaN));
}

function thrown(error: unknown): ThrownInThread {
  return {
    message: messageOf(error),
    stack: error instanceof Error ? (error.stack ?? null) : null,
    code: error instanceof ReckonError ? error.code : null,
  };
}

if (parentPort !== null) await start(workerData as UserRewardOptions);
