/** Owns what a run prints: every line to run.log with its time, and to the terminal. Knows not what it says. */

import { appendFileSync } from 'node:fs';
import type { ProgressUpdate } from '../train/context.ts';

/** Where lines and progress of a run go. */
export interface RunLog {
  log(line: string): void;
  progress(stage: string, update: ProgressUpdate): void;
  /** Ends a progress line that is still open on the terminal. */
  close(): void;
}

/** What the terminal side of a log needs: a stream such as process.stdout. */
export interface LogStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

/** `quiet` keeps lines from the stream; run.log gets them all the same. */
export interface RunLogOptions {
  readonly stream: LogStream;
  readonly quiet?: boolean | undefined;
  /** Milliseconds between plain progress lines; 10 s unless told. */
  readonly plainInterval?: number | undefined;
}

/** Opens a log that appends to a file. Progress rewrites one line on a terminal and is a plain line elsewhere. */
export function openRunLog(path: string, options: RunLogOptions): RunLog {
  const { stream, quiet = false, plainInterval = 10_000 } = options;
  const live = stream.isTTY === true && !quiet;
  const estimate = new EtaClock();
  let open = false;
  let lastPlain = Number.NEGATIVE_INFINITY;

  const show = (line: string): void => {
    if (quiet) return;
    stream.write(`${open ? '\r\u001b[K' : ''}${line}\n`);
    open = false;
  };
  const keep = (line: string): void => appendFileSync(path, `${new Date().toISOString()} ${line}\n`);

  return {
    log(line) {
      keep(line);
      show(line);
    },
    progress(stage, update) {
      const line = progressLine(stage, update, estimate.secondsLeft(stage, update));
      if (live) stream.write(`\r\u001b[K${line.slice(0, (stream.columns ?? 120) - 1)}`);
      open = live;
      const due = performance.now() - lastPlain >= plainInterval || update.step >= update.steps;
      if (!due) return;
      lastPlain = performance.now();
      keep(line);
      if (!live) show(line);
    },
    close() {
      if (open) stream.write('\n');
      open = false;
    },
  };
}

/** Minutes and seconds as people write them: `9s`, `2m05s`, `1h03m`. */
export function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole}s`;
  const padded = (value: number): string => String(value).padStart(2, '0');
  if (whole < 3600) return `${Math.floor(whole / 60)}m${padded(whole % 60)}s`;
  return `${Math.floor(whole / 3600)}h${padded(Math.floor((whole % 3600) / 60))}m`;
}

function progressLine(stage: string, { step, steps, text }: ProgressUpdate, left: number | null): string {
  const eta = left === null ? '' : ` · ETA ${formatSeconds(left)}`;
  return `${stage} ${step}/${steps}${text === '' ? '' : ` · ${text}`}${eta}`;
}

/** Estimates the time left from the steps of this process alone: a resumed stage starts at a later step. */
class EtaClock {
  private stage = '';
  private firstStep = 0;
  private firstTime = 0;

  secondsLeft(stage: string, { step, steps }: ProgressUpdate): number | null {
    if (stage !== this.stage || step < this.firstStep) {
      this.stage = stage;
      this.firstStep = step;
      this.firstTime = performance.now();
    }
    if (step <= this.firstStep) return null;
    const secondsPerStep = (performance.now() - this.firstTime) / 1000 / (step - this.firstStep);
    return secondsPerStep * Math.max(0, steps - step);
  }
}
