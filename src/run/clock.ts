/** Owns time.json: seconds spent on a run and on each stage, over all attempts. Knows not what the time went to. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { writeFileAtomic } from '../util/files.ts';

const timeSchema = z.object({
  version: z.literal(1),
  seconds: z.number().nonnegative(),
  stages: z.record(z.string(), z.number().nonnegative()),
});

/** Seconds that add up over resumes; a killed process loses at most the few since the last save. */
export class RunClock {
  private readonly path: string;
  private readonly earlier: z.infer<typeof timeSchema>;
  private readonly commandStart: number;
  private readonly timer: NodeJS.Timeout;
  private stage: { name: string; start: number } | null = null;

  /** `commandStart` is a `performance.now()` time, below 0 where the command began before this process. */
  constructor(runDirectory: string, commandStart: number = commandStartTime()) {
    this.path = join(runDirectory, 'time.json');
    this.earlier = readTime(this.path);
    this.commandStart = commandStart;
    this.timer = setInterval(() => this.trySave(), 5000);
    this.timer.unref();
  }

  /** Seconds of the whole command so far, earlier attempts included. */
  seconds(): number {
    return this.earlier.seconds + (performance.now() - this.commandStart) / 1000;
  }

  /** Seconds of one stage so far, earlier attempts included. */
  stageSeconds(name: string): number {
    const running = this.stage?.name === name ? (performance.now() - this.stage.start) / 1000 : 0;
    return (this.earlier.stages[name] ?? 0) + running;
  }

  /** Begins to count for a stage; null ends the one that counts now. */
  enterStage(name: string | null): void {
    this.stopStage();
    if (name !== null) this.stage = { name, start: performance.now() };
    this.save();
  }

  /** Saves and stops; a disk that takes no more is left for the run's own files to complain about. */
  close(): void {
    clearInterval(this.timer);
    this.stopStage();
    this.trySave();
  }

  private stopStage(): void {
    if (this.stage !== null) this.earlier.stages[this.stage.name] = this.stageSeconds(this.stage.name);
    this.stage = null;
  }

  /** An error thrown in a timer would end the process without a word of what it was doing. */
  private trySave(): void {
    try {
      this.save();
    } catch {
      // A run that cannot write says so itself, at its next step.
    }
  }

  private save(): void {
    const stages = { ...this.earlier.stages };
    if (this.stage !== null) stages[this.stage.name] = this.stageSeconds(this.stage.name);
    writeFileAtomic(this.path, `${JSON.stringify({ version: 1, seconds: this.seconds(), stages })}\n`);
  }
}

/**
 * When the command began, on the clock of `performance.now()`: RECKON_STARTED_AT (milliseconds since 1970) where
 * set-up ran first and then started this process, else 0, the start of the process.
 */
export function commandStartTime(startedAt: string | undefined = process.env['RECKON_STARTED_AT']): number {
  const start = Number(startedAt ?? '') - performance.timeOrigin;
  const aDay = 24 * 3600 * 1000;
  return startedAt !== undefined && start <= 0 && start > -aDay ? start : 0;
}

function readTime(path: string): z.infer<typeof timeSchema> {
  try {
    return timeSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return { version: 1, seconds: 0, stages: {} };
  }
}
