/** Owns energy.json: joules that a run and each of its stages took, over all attempts, where they can be known. Estimates nothing. */

import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { type EnergyFile, readEnergyFile } from '../report/energy-file.ts';
import { writeFileAtomic } from '../util/files.ts';
import { gpuMeter } from './gpu-power.ts';
import { type EnergyMeter, packageMeter } from './powercap.ts';

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
  private joules: number;
  private readonly stages: Record<string, number>;
  private readonly sources: readonly string[];
  private known: boolean;
  private counted = 0;
  private stage: string | null = null;

  /** `begun` says that earlier attempts ran. */
  constructor(runDirectory: string, meters: readonly EnergyMeter[], begun: boolean) {
    this.path = join(runDirectory, 'energy.json');
    this.meters = meters;
    const earlier = earlierEnergy(this.path);
    this.sources = meters.map(({ name }) => name);
    this.joules = earlier?.joules ?? 0;
    this.stages = { ...earlier?.stages };
    const alike = earlier === null ? !begun : earlier.sources.join() === this.sources.join();
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
    const { stages, sources } = this;
    this.joules += more;
    if (this.stage !== null) stages[this.stage] = (stages[this.stage] ?? 0) + more;
    const file: EnergyFile = { version: 1, sources, joules: this.joules, stages };
    this.attempt(() => writeFileAtomic(this.path, `${JSON.stringify(file)}\n`));
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

/** What earlier attempts left; null where there is nothing, or nothing whole. */
function earlierEnergy(path: string): EnergyFile | null {
  try {
    return readEnergyFile(path) ?? null;
  } catch {
    return null;
  }
}
