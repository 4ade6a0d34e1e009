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

  /** `commandStart` is a `performance.now()` time; 0, the start of the process, counts its loading too. */
  constructor(runDirectory: string, commandStart = 0) {
    this.path = join(runDirectory, 'time.json');
    this.earlier = readTime(this.path);
    this.commandStart = commandStart;
    this.timer = setInterval(() => this.save(), 5000);
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
    if (this.stage !== null) this.earlier.stages[this.stage.name] = this.stageSeconds(this.stage.name);
    this.stage = name === null ? null : { name, start: performance.now() };
    this.save();
  }

  /** Saves and stops. */
  close(): void {
    clearInterval(this.timer);
    this.enterStage(null);
  }

  private save(): void {
    const stages = { ...this.earlier.stages };
    if (this.stage !== null) stages[this.stage.name] = this.stageSeconds(this.stage.name);
    writeFileAtomic(this.path, `${JSON.stringify({ version: 1, seconds: this.seconds(), stages })}\n`);
  }
}

function readTime(path: string): z.infer<typeof timeSchema> {
  try {
    return timeSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return { version: 1, seconds: 0, stages: {} };
  }
}
