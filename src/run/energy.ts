/** Owns energy.json: joules that a run and each of its stages took, over all attempts, where they can be known. Estimates nothing. */

import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { writeFileAtomic } from '../util/files.ts';
import { gpuMeter } from './gpu-power.ts';
import { type EnergyMeter, packageMeter } from './powercap.ts';

const energySchema = z.object({
  version: z.literal(1),
  sources: z.array(z.string()).min(1),
  joules: z.number().nonnegative(),
  stages: z.record(z.string(), z.number().nonnegative()),
});

type Energy = z.infer<typeof energySchema>;

const EVERY_MS = 5000;

/** The meters of a device: on a GPU its own must be there, on a processor the packages. */
export function metersFor(device: string, powercap?: string): EnergyMeter[] {
  const packages = packageMeter(powercap);
  const gpu = device.startsWith('cuda') ? [gpuMeter(device)] : [];
  return [...gpu, ...(packages === null ? [] : [packages])];
}

/** Adds up over resumes. What an attempt did not measure makes the whole unknown: the file is then not there. */
export class RunEnergy {
  private readonly path: string;
  private readonly meters: readonly EnergyMeter[];
  private readonly timer: NodeJS.Timeout;
  private readonly kept: Energy;
  private known: boolean;
  private counted = 0;
  private stage: string | null = null;

  /** `begun` says that earlier attempts ran. */
  constructor(runDirectory: string, meters: readonly EnergyMeter[], begun: boolean) {
    this.path = join(runDirectory, 'energy.json');
    this.meters = meters;
    const earlier = readEnergy(this.path);
    const sources = meters.map(({ name }) => name);
    this.kept = earlier ?? { version: 1, sources, joules: 0, stages: {} };
    const alike = earlier === null ? !begun : earlier.sources.join() === sources.join();
    this.known = meters.length > 0 && alike;
    if (!this.known) this.forget();
    this.timer = setInterval(() => this.count(), EVERY_MS);
    this.timer.unref();
  }

  /** Begins to count for a stage; null ends the one that counts now. */
  enterStage(name: string | null): void {
    this.count();
    this.stage = name;
  }

  /** Counts what is left and gives the meters back. */
  close(): void {
    clearInterval(this.timer);
    this.count();
    for (const meter of this.meters) meter.close();
  }

  private count(): void {
    if (!this.known) return;
    const read = this.meters.map((meter) => meter.joules());
    if (read.includes(null)) {
      this.known = false;
      this.forget();
      return;
    }
    const now = read.reduce<number>((sum, joules) => sum + (joules ?? 0), 0);
    const more = now - this.counted;
    this.counted = now;
    const { stages } = this.kept;
    this.kept.joules += more;
    if (this.stage !== null) stages[this.stage] = (stages[this.stage] ?? 0) + more;
    this.attempt(() => writeFileAtomic(this.path, `${JSON.stringify(this.kept)}\n`));
  }

  private forget(): void {
    this.attempt(() => rmSync(this.path, { force: true }));
  }

  /** A disk that takes no more is left for the run's own files to complain about. */
  private attempt(write: () => void): void {
    try {
      write();
    } catch {
      // Energy is a note in the report, not worth a run.
    }
  }
}

function readEnergy(path: string): Energy | null {
  try {
    return existsSync(path) ? energySchema.parse(JSON.parse(readFileSync(path, 'utf8'))) : null;
  } catch {
    return null;
  }
}
