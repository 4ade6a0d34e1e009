/** Owns following the metrics and evaluations of a run's folder as they grow, for trackers. Writes nothing itself. */

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { messageOf } from '../util/errors.ts';
import { readMetricsFrom } from './metrics.ts';
import type { Tracker } from './tracker.ts';

interface Followed {
  /** Where in the metrics file the first line begins that was not told yet. */
  bytes: number;
  readonly startedAt: number;
}

/** Tells trackers what is new in a run's folder. A tracker that throws is told nothing more, and `failed` hears why. */
export class RunFollower {
  private readonly directory: string;
  private readonly failed: (sentence: string) => void;
  private trackers: Tracker[];
  private readonly stages = new Map<string, Followed>();
  private readonly evaluations = new Map<string, number>();
  private timer: NodeJS.Timeout | null = null;

  constructor(directory: string, trackers: readonly Tracker[], failed: (sentence: string) => void) {
    this.directory = directory;
    this.trackers = [...trackers];
    this.failed = failed;
  }

  /** Looks every so many milliseconds until `close`. The timer keeps no process alive. */
  start(everyMs: number): void {
    this.timer = setInterval(() => this.look(), everyMs);
    this.timer.unref();
  }

  /** Tells what has come since the last look. A file that has been cut back is told anew. */
  look(): void {
    try {
      for (const stage of this.stageFolders()) this.lookAtStage(stage);
      this.lookAtEvaluations();
    } catch (error) {
      this.failed(`metrics could not be read for the trackers (${messageOf(error)}); the run goes on`);
    }
  }

  /** A last look; then waits for the trackers. */
  async close(): Promise<void> {
    if (this.timer !== null) clearInterval(this.timer);
    this.look();
    await Promise.all(
      this.trackers.map((tracker) => tracker.close().catch((error: unknown) => this.drop(tracker, error))),
    );
  }

  private stageFolders(): string[] {
    return readdirSync(this.directory)
      .filter((name) => /^\d{2,3}-/.test(name) && existsSync(join(this.directory, name, 'metrics.jsonl')))
      .sort();
  }

  private lookAtStage(stage: string): void {
    const path = join(this.directory, stage, 'metrics.jsonl');
    const before = this.stages.get(stage);
    const size = statSync(path).size;
    if (before?.bytes === size) return;
    const anew = before === undefined || size < before.bytes;
    const { rows, bytes } = readMetricsFrom(path, anew ? 0 : before.bytes);
    if (!anew && rows.length === 0) return;
    const startedAt = anew ? startOf(join(this.directory, stage)) : before.startedAt;
    this.stages.set(stage, { bytes, startedAt });
    this.tell((tracker) => tracker.log({ stage, startedAt, rows, anew }));
  }

  private lookAtEvaluations(): void {
    const folder = join(this.directory, 'evaluations');
    if (!existsSync(folder)) return;
    for (const name of readdirSync(folder).filter((one) => one.endsWith('.json') && !one.startsWith('.'))) {
      const changed = statSync(join(folder, name)).mtimeMs;
      if (this.evaluations.get(name) === changed) continue;
      this.evaluations.set(name, changed);
      const values = valuesOf(join(folder, name));
      if (Object.keys(values).length === 0) continue;
      this.tell((tracker) => tracker.evaluation({ label: basename(name, '.json'), values }));
    }
  }

  private tell(what: (tracker: Tracker) => void): void {
    for (const tracker of [...this.trackers]) {
      try {
        what(tracker);
      } catch (error) {
        this.drop(tracker, error);
      }
    }
  }

  private drop(tracker: Tracker, error: unknown): void {
    this.trackers = this.trackers.filter((one) => one !== tracker);
    this.failed(`${tracker.name} failed (${messageOf(error)}); the run goes on without it`);
  }
}

/** When a stage began by its stage.json, in seconds since 1970. */
function startOf(directory: string): number {
  try {
    const { startedAt } = JSON.parse(readFileSync(join(directory, 'stage.json'), 'utf8')) as {
      startedAt: string;
    };
    const time = Date.parse(startedAt) / 1000;
    return Number.isFinite(time) ? time : Date.now() / 1000;
  } catch {
    return Date.now() / 1000;
  }
}

/** The shares of an evaluation's file. It is written by a folder that comes later, so only its form is known here. */
function valuesOf(path: string): Record<string, number> {
  try {
    const { passAt1, format } = JSON.parse(readFileSync(path, 'utf8')) as Record<
      string,
      { mean?: unknown } | undefined
    >;
    const values = { pass_at_1: passAt1?.mean, format: format?.mean };
    return Object.fromEntries(
      Object.entries(values).filter((entry): entry is [string, number] => typeof entry[1] === 'number'),
    );
  } catch {
    return {};
  }
}
