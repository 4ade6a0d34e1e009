/** Owns TensorBoard event files: one folder a stage, scalars by metric name. Refuses to know when it is told. */

import { appendFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { eventRecord } from './event-records.ts';
import { scalarsOf, type TrackedEvaluation, type TrackedRows, type Tracker } from './tracker.ts';

const EVENTS = 'events.out.tfevents.';
const EVALUATIONS = 'evaluations';

/** Writes `<folder>/<stage>/events.out.tfevents.*`, which `tensorboard --logdir <folder>` shows as one run a stage. */
export class TensorBoardTracker implements Tracker {
  readonly name = 'TensorBoard';
  private readonly folder: string;
  private readonly files = new Map<string, string>();
  private readonly clocks = new Map<string, number>();

  constructor(folder: string) {
    this.folder = folder;
  }

  log({ stage, startedAt, rows, anew }: TrackedRows): void {
    if (anew) this.begin(stage, startedAt);
    const records = rows.map((row) => {
      const wallTime = (this.clocks.get(stage) ?? startedAt) + (row['time/step_s'] ?? 0);
      this.clocks.set(stage, wallTime);
      return eventRecord({ wallTime, step: row.step, scalars: scalarsOf(row) });
    });
    if (records.length > 0) this.append(stage, startedAt, records);
  }

  evaluation({ label, values }: TrackedEvaluation): void {
    const scalars = Object.fromEntries(
      Object.entries(values).map(([name, value]) => [`${name}/${label}`, value]),
    );
    this.append(EVALUATIONS, Date.now() / 1000, [
      eventRecord({ wallTime: Date.now() / 1000, step: 0, scalars }),
    ]);
  }

  async close(): Promise<void> {
    this.files.clear();
  }

  private append(stage: string, startedAt: number, records: readonly Buffer[]): void {
    const file = this.files.get(stage) ?? this.begin(stage, startedAt);
    appendFileSync(file, Buffer.concat(records));
  }

  /** Throws away what an earlier process wrote of the stage, so that no step is there twice. */
  private begin(stage: string, startedAt: number): string {
    const folder = join(this.folder, stage);
    mkdirSync(folder, { recursive: true });
    for (const name of readdirSync(folder)) if (name.startsWith(EVENTS)) rmSync(join(folder, name));
    const seconds = String(Math.floor(startedAt)).padStart(10, '0');
    const file = join(folder, `${EVENTS}${seconds}.${hostname()}.reckon`);
    if (existsSync(file)) rmSync(file);
    appendFileSync(
      file,
      eventRecord({ wallTime: startedAt, step: 0, fileVersion: 'brain.Event:2', scalars: {} }),
    );
    this.files.set(stage, file);
    this.clocks.set(stage, startedAt);
    return file;
  }
}
