/** Owns what a tracker is: something that is told the metrics of a run's stages as they come. Refuses to know where from. */

import type { MetricRow } from './metrics.ts';

/** What a tracker is told of the run before anything else. */
export interface TrackedRun {
  /** The run's folder, absolute. */
  readonly directory: string;
  readonly name: string;
  /** The resolved recipe, plain data. */
  readonly config: object;
}

/** The result of an evaluation, as scalars by name. */
export interface TrackedEvaluation {
  readonly label: string;
  readonly values: Readonly<Record<string, number>>;
}

/** Rows of one stage, in order. `startedAt` are seconds since 1970. */
export interface TrackedRows {
  readonly stage: string;
  readonly startedAt: number;
  readonly rows: readonly MetricRow[];
  /** True where these are all rows of the stage so far: what was told before does not count any more. */
  readonly anew: boolean;
}

/** Where metrics go beside metrics.jsonl. Methods may throw: whoever calls them goes on without the tracker. */
export interface Tracker {
  /** For messages: `TensorBoard`. */
  readonly name: string;
  log(rows: TrackedRows): void;
  evaluation(result: TrackedEvaluation): void;
  /** Waits until what was told has arrived, as far as it can. */
  close(): Promise<void>;
}

/** The scalars of a row: metrics by name that have a value. */
export function scalarsOf(row: MetricRow): Record<string, number> {
  return Object.fromEntries(
    Object.entries(row).filter(
      (entry): entry is [string, number] => entry[0] !== 'step' && typeof entry[1] === 'number',
    ),
  );
}
