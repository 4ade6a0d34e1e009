/** Owns doing the runs of a sweep, in order or several at once, each in a process of its own. Knows no recipe and no chart. */

import { type ChildProcess, spawn } from 'node:child_process';
import type { SweepPoint } from './sweep-plan.ts';

/** How the process of one point ended. */
export interface PointOutcome {
  readonly point: SweepPoint;
  readonly status: 'done' | 'failed' | 'stopped';
  /** Its one-sentence error where it failed. */
  readonly error: string | null;
}

/** How a sweep is done. */
export interface SweepOptions {
  /** Runs at the same time. */
  readonly jobs: number;
  /** The program and words that run one point, without those that the point sets. */
  command(point: SweepPoint): readonly [program: string, ...words: string[]];
  readonly env: Readonly<Record<string, string | undefined>>;
  stopRequested(): boolean;
  started?(point: SweepPoint): void;
  ended?(outcome: PointOutcome): void;
}

/** Does every point and says how each ended, in the order of the points. A failed one does not keep others from theirs. */
export async function runSweep(
  points: readonly SweepPoint[],
  options: SweepOptions,
): Promise<PointOutcome[]> {
  const outcomes: PointOutcome[] = [];
  const waiting = [...points];
  const running = new Set<ChildProcess>();
  const stop = (signal: NodeJS.Signals): void => {
    for (const child of running) child.kill(signal);
  };
  const signals = ['SIGINT', 'SIGTERM'] as const;
  for (const signal of signals) process.on(signal, stop);
  const work = async (): Promise<void> => {
    for (let point = waiting.shift(); point !== undefined; point = waiting.shift()) {
      if (options.stopRequested()) return;
      options.started?.(point);
      const outcome = await runPoint(point, options, running);
      outcomes.push(outcome);
      options.ended?.(outcome);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.max(1, options.jobs) }, work));
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
  return points.flatMap((point) => outcomes.filter((outcome) => outcome.point === point));
}

function runPoint(
  point: SweepPoint,
  { command, env }: SweepOptions,
  running: Set<ChildProcess>,
): Promise<PointOutcome> {
  const [program, ...words] = command(point);
  return new Promise((resolve) => {
    const child = spawn(program, words, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    running.add(child);
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-4000);
    });
    const end = (code: number | null, signal: NodeJS.Signals | null, reason: string): void => {
      running.delete(child);
      // A signal that comes before the run listens for it ends the process without a code.
      const stopped = code === 130 || code === 143 || signal === 'SIGINT' || signal === 'SIGTERM';
      const status = code === 0 ? 'done' : stopped ? 'stopped' : 'failed';
      resolve({ point, status, error: status === 'failed' ? (lastError(errors) ?? reason) : null });
    };
    child.on('error', (error) => end(1, null, error.message));
    child.on('close', (code, signal) => end(code, signal, `it ended with ${signal ?? `exit code ${code}`}`));
  });
}

function lastError(text: string): string | null {
  const line = text
    .split('\n')
    .map((one) => one.trim())
    .findLast((one) => /^([A-Za-z]{0,40}E|e)rror: /.test(one));
  return line === undefined ? null : line.replace(/^error: /, '');
}
