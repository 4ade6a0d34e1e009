/**
 * Owns a reward of the user's own from outside: a thread that runs it, the time of each call, and a new thread where one hangs
 * or dies, so that a function that never returns costs its time and not the run. Knows no recipe.
 */

import { Worker } from 'node:worker_threads';
import { ReckonError } from '../util/errors.ts';
import { threadFile } from '../util/place.ts';
import { timerMs } from '../util/timer.ts';
import type { MadeReward } from './built-in.ts';
import type { Sample, Score } from './reward.ts';
import type { UserRewardOptions } from './user-function.ts';
import type { FromThread, ThrownInThread, ToThread } from './user-worker.ts';

/** Thrown for a call that took too long. */
export class LateReward extends Error {
  override readonly name = 'LateReward';
}

/** Milliseconds of a call where nobody says. */
export const USER_TIMEOUT = 60_000;

/** A thread that does not answer for so long is busy with a function that does not return. */
const PONG = 2000;

/** The reward of a file, in a thread that starts with the first call; its rejections are the user's errors. */
export function userReward(options: UserRewardOptions, timeout: number = USER_TIMEOUT): MadeReward {
  const thread = new UserThread(options, timeout);
  if (!options.perGroup) return { score: async (sample) => (await thread.call([sample]))[0]! };
  return {
    scoreGroup: (samples) => thread.call(samples),
    score: async (sample) => (await thread.call([sample]))[0]!,
  };
}

interface Call {
  readonly id: number;
  readonly samples: readonly Sample[];
  readonly resolve: (scores: readonly Score[]) => void;
  readonly reject: (error: unknown) => void;
  timer: NodeJS.Timeout | null;
}

/** Calls go out in order; those that a thread took with it, but for the one that it died of, go to the next thread. */
class UserThread {
  private readonly options: UserRewardOptions;
  private readonly timeout: number;
  private readonly calls = new Map<number, Call>();
  private worker: Worker | null = null;
  private ready = false;
  /** The call that was begun last: what a thread that hangs is busy with. */
  private begun: number | null = null;
  private pong: NodeJS.Timeout | null = null;
  private next = 0;

  constructor(options: UserRewardOptions, timeout: number) {
    this.options = options;
    this.timeout = timeout;
  }

  call(samples: readonly Sample[]): Promise<readonly Score[]> {
    return new Promise((resolve, reject) => {
      const call: Call = { id: this.next++, samples, resolve, reject, timer: null };
      this.calls.set(call.id, call);
      this.worker ??= this.start();
      this.worker.ref();
      if (this.ready) this.send({ type: 'call', id: call.id, samples });
    });
  }

  private start(): Worker {
    const { file, export: wanted, perGroup } = this.options;
    const workerData = { file, export: wanted, perGroup };
    const worker = new Worker(threadFile('rewards/user-worker'), { workerData });
    worker.on('message', (message: FromThread) => this.receive(message));
    worker.on('error', (error) => this.lose(worker, error, true));
    worker.on('exit', () => this.lose(worker, new Error('the thread that it ran in has ended'), true));
    return worker;
  }

  private receive(message: FromThread): void {
    if (message.type === 'ready') {
      this.ready = true;
      for (const { id, samples } of this.calls.values()) this.send({ type: 'call', id, samples });
    } else if (message.type === 'broken') this.giveUp(message.error);
    else if (message.type === 'pong') this.stopWaiting();
    else this.progress(message);
  }

  private progress(message: Extract<FromThread, { readonly id: number }>): void {
    const call = this.calls.get(message.id);
    if (!call) return;
    if (message.type === 'started') {
      this.begun = call.id;
      call.timer = setTimeout(() => this.late(call), timerMs(this.timeout));
      return;
    }
    this.settle(call);
    if (message.type === 'done') call.resolve(message.scores);
    else call.reject(rebuilt(message.error));
  }

  private late(call: Call): void {
    this.settle(call);
    call.reject(new LateReward(`it took more than ${this.timeout} ms`));
    const { worker } = this;
    if (worker === null) return;
    this.send({ type: 'abort', id: call.id });
    this.send({ type: 'ping' });
    this.pong ??= setTimeout(() => this.lose(worker, new Error('its thread hangs'), false), PONG);
    this.pong.unref();
    if (this.calls.size > 0) this.pong.ref();
  }

  /**
   * Another thread takes over what is left. Told why are the call that this one was busy with; where it has ended, all that
   * were begun; and where it never was ready, all.
   */
  private lose(worker: Worker, error: Error, ended: boolean): void {
    if (this.worker !== worker) return;
    void worker.terminate();
    this.stopWaiting();
    const all = [...this.calls.values()];
    const busy = all.filter((call) => call.id === this.begun);
    const begun = busy.length > 0 || !ended ? busy : all.filter((call) => call.timer !== null);
    for (const call of this.ready ? begun : all) {
      this.settle(call);
      call.reject(error);
    }
    for (const call of this.calls.values()) {
      if (call.timer !== null) clearTimeout(call.timer);
      call.timer = null;
    }
    this.ready = false;
    this.begun = null;
    this.worker = this.calls.size > 0 ? this.start() : null;
  }

  private giveUp(error: ThrownInThread): void {
    const { worker } = this;
    this.worker = null;
    void worker?.terminate();
    for (const call of [...this.calls.values()]) {
      this.settle(call);
      call.reject(rebuilt(error));
    }
  }

  private settle(call: Call): void {
    if (call.timer !== null) clearTimeout(call.timer);
    this.calls.delete(call.id);
    if (this.calls.size === 0) this.worker?.unref();
  }

  private stopWaiting(): void {
    if (this.pong !== null) clearTimeout(this.pong);
    this.pong = null;
  }

  private send(message: ToThread): void {
    this.worker?.postMessage(message);
  }
}

function rebuilt({ message, stack, code }: ThrownInThread): Error {
  const error = code === null ? new Error(message) : new ReckonError('usage', code, message);
  if (stack !== null) error.stack = stack;
  return error;
}
