/** Owns the progress line of a training stage. Writes to the stream that it is given and keeps no file. */

import { formatBytes, formatCount, formatDuration, formatNumber, formatPercent } from '../util/format.ts';
import type { MetricRecord } from './metric-names.ts';

/** What progress is written to: a terminal, a pipe, or a test's own list. */
export interface ProgressStream {
  write(text: string): unknown;
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

/** What {@link Progress} needs to know. */
export interface ProgressOptions {
  /** Name of the stage, first word of the line. */
  readonly stage: string;
  readonly steps: number;
  readonly stream: ProgressStream;
  /** Steps done before this process started: they count as done, not as fast. */
  readonly startStep?: number;
  readonly quiet?: boolean;
  /** Seconds on a clock that never goes back. */
  readonly now?: () => number;
  /** When the work began on that clock; by default now. */
  readonly startedAt?: number;
}

/** The ETA is of the pace of so many steps, or of so many seconds where those are more: problems are done in bursts. */
const PACE_STEPS = 32;
const PACE_SECONDS = 20;
const TERMINAL_SECONDS = 0.1;
const PLAIN_SECONDS = 5;
const CLEAR = '\r\u001b[2K';

/**
 * One line that is rewritten on a terminal; elsewhere a plain line about every 5 s, at every tenth of the way and at
 * the last step. Quiet mode writes nothing.
 */
export class Progress {
  private readonly options: ProgressOptions;
  private readonly terminal: boolean;
  private readonly now: () => number;
  private readonly pace: { step: number; time: number }[];
  private lastWrite = Number.NEGATIVE_INFINITY;
  private lastTenth: number;
  private current = '';

  constructor(options: ProgressOptions) {
    this.options = options;
    this.terminal = options.stream.isTTY === true;
    this.now = options.now ?? ((): number => performance.now() / 1000);
    const start = options.startStep ?? 0;
    this.pace = [{ step: start, time: options.startedAt ?? this.now() }];
    this.lastTenth = this.tenth(start);
  }

  /** Tells that `step` steps are done, with the metrics of the last one. */
  update(step: number, record: MetricRecord): void {
    if (this.options.quiet ?? false) return;
    const time = this.now();
    this.pace.push({ step, time });
    while (this.pace.length > PACE_STEPS + 1 && time - this.pace[1]!.time > PACE_SECONDS) this.pace.shift();
    if (!this.due(step, time)) return;
    this.lastWrite = time;
    this.lastTenth = this.tenth(step);
    this.show(this.line(step, record));
  }

  /** Writes a line of its own without leaving half a progress line around it. */
  note(text: string): void {
    if (this.options.quiet ?? false) return;
    const redraw = this.current === '' ? '' : this.current;
    this.options.stream.write(`${this.current === '' ? '' : CLEAR}${text}\n${redraw}`);
  }

  /** Ends the line, so that what is printed next starts on its own. */
  finish(): void {
    if (this.current !== '') this.options.stream.write('\n');
    this.current = '';
  }

  private due(step: number, time: number): boolean {
    const waited = time - this.lastWrite;
    if (step >= this.options.steps) return true;
    if (this.terminal) return waited >= TERMINAL_SECONDS;
    return waited >= PLAIN_SECONDS || this.tenth(step) > this.lastTenth;
  }

  private tenth(step: number): number {
    return Math.floor((10 * step) / Math.max(1, this.options.steps));
  }

  private show(line: string): void {
    if (!this.terminal) {
      this.options.stream.write(`${line}\n`);
      return;
    }
    const width = (this.options.stream.columns ?? 80) - 1;
    this.current = [...line].length > width ? `${[...line].slice(0, width - 1).join('')}…` : line;
    this.options.stream.write(CLEAR + this.current);
  }

  private line(step: number, record: MetricRecord): string {
    const share = formatPercent(step / Math.max(1, this.options.steps), 0);
    const parts = [`${this.options.stage} ${step}/${this.options.steps} (${share})`];
    const add = (label: string, value: number | null | undefined, write: (value: number) => string): void => {
      if (value !== null && value !== undefined) parts.push(`${label} ${write(value)}`);
    };
    add('loss', record.loss, (value) => formatNumber(value, 3));
    add('reward', record['reward/mean'], (value) => formatNumber(value, 3));
    add('accuracy', record['accuracy/mean'] ?? record['validation/accuracy'], formatPercent);
    add('ETA', this.secondsLeft(step), formatDuration);
    add('speed', record['perf/tokens_per_s'], (value) => `${formatCount(value)} tok/s`);
    add('memory', record['memory/rss_bytes'], formatBytes);
    return parts.join('  ');
  }

  private secondsLeft(step: number): number | undefined {
    const first = this.pace[0];
    const last = this.pace.at(-1);
    const done = (last?.step ?? 0) - (first?.step ?? 0);
    if (first === undefined || last === undefined || done <= 0 || step >= this.options.steps)
      return undefined;
    return ((last.time - first.time) / done) * (this.options.steps - step);
  }
}
