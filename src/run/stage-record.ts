/** Owns stage.json: what became of one stage, written and read back. Runs no stage. */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import { ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import type { DataHashes } from './data-hashes.ts';

/** stage.json, version 1; `parent` and `output` are paths relative to the run directory. */
export interface StageRecord {
  readonly version: 1;
  readonly type: string;
  readonly status: 'running' | 'done' | 'stopped';
  readonly inputHash: string;
  readonly parent: string | null;
  readonly output: string | null;
  readonly startedAt: string;
  /** Over all attempts. */
  readonly seconds: number;
  /** Hashes of the files that it read, by key of the recipe; runs of earlier versions have none. */
  readonly data?: DataHashes | undefined;
}

/** stage.json as it is read back. */
export const stageRecordSchema: z.ZodType<StageRecord> = z.object({
  version: z.literal(1),
  type: z.string(),
  status: z.enum(['running', 'done', 'stopped']),
  inputHash: z.string(),
  parent: z.string().nullable(),
  output: z.string().nullable(),
  startedAt: z.string(),
  seconds: z.number().nonnegative(),
  data: z.record(z.string(), z.string()).optional(),
});

/** The record of a stage folder, or null where it has none; a damaged one is an error. */
export function readStageRecord(directory: string): StageRecord | null {
  const path = join(directory, 'stage.json');
  if (!existsSync(path)) return null;
  try {
    return stageRecordSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    const message = `${path} cannot be read; start again with --fresh or another --name`;
    throw new ReckonError('run', 'stage-unreadable', message, { cause: error });
  }
}

/** Replaces the record of a stage folder in one step. */
export function writeStageRecord(directory: string, record: StageRecord): void {
  writeFileAtomic(join(directory, 'stage.json'), `${JSON.stringify(record, null, 2)}\n`);
}
