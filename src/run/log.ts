/** Owns what a run prints: every line to run.log with its time, and to the terminal. Knows not what it says. */

import { appendFileSync } from 'node:fs';
import type { ProgressStream } from '../track/progress.ts';

/** Where lines and progress of a run go. */
export interface RunLog {
  /** Prints a line and keeps it. */
  log(line: string): void;
  /** Keeps a line in run.log without printing it. */
  keep(line: string): void;
  /** For a progress line: text passes to the terminal, whole lines are kept, open ones every 10 seconds. */
  readonly stream: ProgressStream;
  /** Ends a line that is still open on the terminal. */
  close(): void;
}

/** `quiet` keeps lines from the stream; run.log gets them all the same. */
export interface RunLogOptions {
  readonly stream: ProgressStream;
  readonly quiet?: boolean | undefined;
}

const OPEN_LINE_MS = 10_000;

/** Opens a log that appends to a file. */
export function openRunLog(path: string, { stream, quiet = false }: RunLogOptions): RunLog {
  let open = false;
  let keptAt = Number.NEGATIVE_INFINITY;

  const keep = (line: string): void => {
    if (line !== '') appendFileSync(path, `${new Date().toISOString()} ${line}\n`);
  };
  const show = (text: string): void => {
    if (!quiet) stream.write(text);
  };
  const pass = (text: string): void => {
    show(text);
    const lines = withoutControls(text).split('\n');
    const last = lines.pop() ?? '';
    for (const line of lines) keep(line);
    open = last !== '';
    if (!open || performance.now() - keptAt < OPEN_LINE_MS) return;
    keptAt = performance.now();
    keep(last);
  };

  return {
    log(line) {
      show(`${open ? '\r\u001b[2K' : ''}${line}\n`);
      open = false;
      for (const part of line.split('\n')) keep(withoutControls(part));
    },
    keep,
    stream: { write: pass, isTTY: stream.isTTY, columns: stream.columns },
    close() {
      if (open) show('\n');
      open = false;
    },
  };
}

/** Text without carriage returns and terminal sequences such as colours. */
function withoutControls(text: string): string {
  return text
    .split('\u001b[')
    .map((part, i) => (i === 0 ? part : part.replace(/^[0-9;]*[A-Za-z]/, '')))
    .join('')
    .replaceAll('\r', '');
}
