/** Owns the form of a run's energy.json, for who writes it and who reports it. Measures nothing. */

import { existsSync, readFileSync } from 'node:fs';
import * as z from 'zod';

/** Joules of the run and of its stages by folder, over all attempts, and what they were measured on. */
export interface EnergyFile {
  readonly version: 1;
  readonly sources: readonly string[];
  readonly joules: number;
  readonly stages: Readonly<Record<string, number>>;
}

const schema: z.ZodType<EnergyFile> = z.object({
  version: z.literal(1),
  sources: z.array(z.string()).min(1),
  joules: z.number().nonnegative(),
  stages: z.record(z.string(), z.number().nonnegative()),
});

/** What the file says; undefined where there is none. Throws where it is damaged. */
export function readEnergyFile(path: string): EnergyFile | undefined {
  return existsSync(path) ? schema.parse(JSON.parse(readFileSync(path, 'utf8'))) : undefined;
}
