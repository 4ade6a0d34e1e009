/** Owns grading threads: batches, a hard deadline for every row, replacement of threads that hang or die. Grades nothing. */

import { Worker } from 'node:worker_threads';
import { threadFile } from '../../util/place.ts';
import { timerMs } from '../../util/timer.ts';
import type { Graded } from './graded.ts';
import type { GradeRow } from './judge.ts';

export interface PoolOptions {
  /** Threads; default 1. */
  readonly workers?: number;
  /** Milliseconds that a row may take where its options say nothing; default 2,000. */
  readonly deadline?: number;
  /** MiB of heap that a thread may use; default 512. */
  readonly memory?: number;
}

interface Job {
  readonly row: GradeRow;
  readonly resolve: (graded: Graded) => void;
}

interface Thread {
  readonly worker: Worker;
  ready: boolean;
  /** Rows in flight, the running one first. */
  readonly jobs: Job[];
  timer: NodeJS.Timeout | null;
}

const BATCH = 32;
const START_DEADLINE = 120_000;

/** Rows are graded in order of arrival by threads that start with the first row. A row never rejects. */
export class GraderPool {
  private readonly queue: Job[] = [];
  private readonly threads: Thread[] = [];
  private closed = false;
  private scheduled = false;

  private readonly options: PoolOptions;

  constructor(options: PoolOptions = {}) {
    this.options = options;
  }

  /** The verdict; `unverifiable` with reason `timeout` or `worker-died` where the thread had to be replaced. */
  grade(row: GradeRow): Promise<Graded> {
    if (this.closed) return Promise.resolve(failed('closed'));
    return new Promise((resolve) => {
      this.queue.push({ row, resolve });
      // Rows that arrive in one turn travel together.
      if (this.scheduled) return;
      this.scheduled = true;
      queueMicrotask(() => {
        this.scheduled = false;
        this.dispatch();
      });
    });
  }

  /** Ends all threads; rows that wait or come later are unverifiable. */
  async close(): Promise<void> {
    this.closed = true;
    const threads = this.threads.splice(0);
    for (const job of [...threads.flatMap(({ jobs }) => jobs), ...this.queue.splice(0)])
      job.resolve(failed('closed'));
    await Promise.all(
      threads.map(({ worker, timer }) => {
        if (timer !== null) clearTimeout(timer);
        return worker.terminate();
      }),
    );
  }

  private dispatch(): void {
    while (this.queue.length > 0) {
      const idle = this.threads.find(({ jobs, ready }) => ready && jobs.length === 0) ?? this.anotherThread();
      if (idle === null) return;
      if (!idle.ready) return;
      const jobs = this.queue.splice(0, BATCH);
      idle.jobs.push(...jobs);
      idle.worker.ref();
      idle.worker.postMessage(jobs.map(({ row }) => row));
      this.watch(idle);
    }
  }

  /** A new thread while there may be one more; null where all are busy. */
  private anotherThread(): Thread | null {
    if (this.threads.length >= (this.options.workers ?? 1)) return null;
    const worker = startWorker(this.options.memory ?? 512);
    const thread: Thread = { worker, ready: false, jobs: [], timer: null };
    this.threads.push(thread);
    worker.on('message', (message: Graded | 'ready') => this.receive(thread, message));
    worker.on('error', () => this.replace(thread, 'worker-died'));
    worker.on('exit', () => this.replace(thread, 'worker-died'));
    thread.timer = setTimeout(() => this.replace(thread, 'worker-died'), START_DEADLINE);
    return thread;
  }

  private receive(thread: Thread, message: Graded | 'ready'): void {
    if (message === 'ready') thread.ready = true;
    else thread.jobs.shift()?.resolve(message);
    this.watch(thread);
    if (thread.jobs.length === 0) this.dispatch();
  }

  /** The clock of the running row starts anew; an idle thread does not keep the process alive. */
  private watch(thread: Thread): void {
    if (thread.timer !== null) clearTimeout(thread.timer);
    thread.timer = null;
    const job = thread.jobs[0];
    if (job === undefined) {
      if (this.queue.length === 0) thread.worker.unref();
      return;
    }
    const deadline = job.row.options.deadline ?? this.options.deadline ?? 2000;
    thread.timer = setTimeout(() => this.replace(thread, 'timeout'), timerMs(deadline));
  }

  /** The running row is unverifiable, the others wait for the next thread. */
  private replace(thread: Thread, reason: 'timeout' | 'worker-died'): void {
    const place = this.threads.indexOf(thread);
    if (place < 0) return;
    this.threads.splice(place, 1);
    if (thread.timer !== null) clearTimeout(thread.timer);
    void thread.worker.terminate();
    const [running, ...rest] = thread.jobs;
    this.queue.unshift(...rest);
    // A thread that never started is a broken installation: nobody waits for ever.
    const lost = thread.ready ? (running === undefined ? [] : [running]) : this.queue.splice(0);
    for (const job of lost) job.resolve(failed(reason));
    this.dispatch();
  }
}

function failed(reason: string): Graded {
  return { verdict: 'unverifiable', score: null, reason, extracted: null, prediction: null, reference: null };
}

function startWorker(memory: number): Worker {
  return new Worker(threadFile('rewards/grade/worker'), {
    resourceLimits: { maxOldGenerationSizeMb: memory, stackSizeMb: 8 },
  });
}
