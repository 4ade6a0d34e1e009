/** Owns when a stage ends before its steps are done: by the time it has trained, or because a metric no longer improves. */

import { type MetricName, type MetricRecord, metricInfo } from '../track/index.ts';

/** Ends a stage whose metric has stopped improving. */
export interface EarlyStop {
  /** Of metrics.jsonl; steps without it do not count. */
  readonly metric: string;
  /** Measurements in a row without a better one. */
  readonly patience: number;
  /** How much better counts as better. */
  readonly minDelta: number;
  /** The mean of so many measurements is compared: a step's reward is noisy. */
  readonly window: number;
  /** Which direction is good; by default what the table of metrics says, and `higher` where it is silent. */
  readonly better?: 'higher' | 'lower' | undefined;
}

export interface LimitOptions {
  readonly timeLimitMinutes?: number | undefined;
  readonly earlyStop?: EarlyStop | null | undefined;
}

/** Counts from the metrics of the stage, so a resumed stage goes on as if it had not been interrupted. */
export class Limits {
  private readonly options: LimitOptions;
  private readonly recent: number[] = [];
  private seconds = 0;
  private best = Number.NEGATIVE_INFINITY;
  private worseSince = 0;
  private reason: string | null = null;

  constructor(rows: readonly MetricRecord[], options: LimitOptions) {
    this.options = options;
    for (const row of rows) this.note(row);
  }

  /** Why the stage ends with the last step that was noted, or null. */
  get reached(): string | null {
    return this.reason;
  }

  /** Takes a step's metrics into account; gives `reached`. */
  note(record: MetricRecord): string | null {
    this.reason = this.reasonAfter(record);
    return this.reason;
  }

  private reasonAfter(record: MetricRecord): string | null {
    this.seconds += record['time/step_s'] ?? 0;
    const { timeLimitMinutes, earlyStop } = this.options;
    if (earlyStop) this.compare(record[earlyStop.metric as MetricName], earlyStop);
    if (timeLimitMinutes !== undefined && this.seconds >= 60 * timeLimitMinutes)
      return `${timeLimitMinutes} minutes of training are over`;
    return earlyStop && this.worseSince >= earlyStop.patience
      ? `${earlyStop.metric} was not better ${earlyStop.patience} times in a row`
      : null;
  }

  private compare(value: number | null | undefined, { metric, minDelta, window, better }: EarlyStop): void {
    if (typeof value !== 'number' || Number.isNaN(value)) return;
    const lower = (better ?? metricInfo(metric as MetricName).better) === 'lower';
    this.recent.push(lower ? -value : value);
    if (this.recent.length > window) this.recent.shift();
    if (this.recent.length < window) return;
    const now = this.recent.reduce((sum, one) => sum + one, 0) / window;
    const improved = now > this.best + minDelta || this.best === Number.NEGATIVE_INFINITY;
    this.worseSince = improved ? 0 : this.worseSince + 1;
    if (improved) this.best = now;
  }
}
