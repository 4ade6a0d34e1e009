/** Owns the energy counters of processor packages, as Linux shows them (RAPL, Intel and AMD). Knows no run. */

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where Linux has the counters; often only root may read them. */
const POWERCAP = '/sys/class/powercap';

/** Something that counts energy from when it was made. */
export interface EnergyMeter {
  /** For the report: `processor packages`. */
  readonly name: string;
  /** Joules so far; null where it can no longer be known. */
  joules(): number | null;
  close(): void;
}

interface Counter {
  readonly path: string;
  /** Where the counter begins again at 0. */
  readonly range: number;
  last: number;
}

/**
 * A meter over all packages, or null where there is none or it may not be read. It must be asked more often than a
 * counter goes round: at 65 kJ and 400 W that is every two minutes.
 */
export function packageMeter(folder: string = POWERCAP): EnergyMeter | null {
  try {
    const counters = readdirSync(folder)
      .filter((zone) => /^[a-z-]+:\d+$/.test(zone) && /^package/.test(read(folder, zone, 'name')))
      .map((zone): Counter => {
        const range = Number(read(folder, zone, 'max_energy_range_uj'));
        return { path: join(folder, zone, 'energy_uj'), range, last: microjoules(folder, zone) };
      });
    return counters.length === 0 ? null : meterOf(counters);
  } catch {
    return null;
  }
}

function meterOf(counters: readonly Counter[]): EnergyMeter {
  let total = 0;
  let known = true;
  return {
    name: 'processor packages',
    joules() {
      try {
        for (const counter of counters) {
          const now = Number(readFileSync(counter.path, 'utf8'));
          total += now >= counter.last ? now - counter.last : counter.range - counter.last + now;
          counter.last = now;
        }
      } catch {
        known = false;
      }
      return known && Number.isFinite(total) ? total / 1e6 : null;
    },
    close: () => undefined,
  };
}

const read = (...path: readonly string[]): string => readFileSync(join(...path), 'utf8').trim();

function microjoules(folder: string, zone: string): number {
  return Number(read(folder, zone, 'energy_uj'));
}
