/**
 * Owns that one process at a time downloads a file into the cache, by a lock file where the Python library has its own
 * (`.locks/<repository>/<checksum>.lock`). Knows nothing of downloads.
 */

import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { z } from 'zod';
import { createFileExclusive } from '../util/files.ts';
import {
  describeSelf,
  isAlive,
  isHere,
  type LockHolder,
  readIfThere,
  removeStale,
} from '../util/lock-file.ts';
import { blobPath, repoFolder } from './cache.ts';
import type { RepoId } from './repo-id.ts';

const holderSchema = z.object({
  pid: z.int().positive(),
  host: z.string(),
  processStart: z.string().nullable(),
});
type Holder = Pick<LockHolder, 'pid' | 'host' | 'processStart'>;

/** Between two looks at a lock that another process holds. */
const pollMs = 100;
/** A holder that cannot be asked is there as long as what it downloads has grown within this time. */
const quietMs = 60_000;

/** Where the lock of a file lies. */
function lockPath(cache: string, id: RepoId, checksum: string): string {
  return join(cache, '.locks', basename(repoFolder(cache, id)), `${checksum}.lock`);
}

/**
 * Runs `work` while no other process (nor another call of this one) works at the same file. The lock of a process that is
 * gone is taken over; where another one works, `waiting` is told of it once, and waits.
 */
export async function withBlobLock<T>(
  cache: string,
  id: RepoId,
  checksum: string,
  work: () => Promise<T>,
  waiting: (who: string) => void = () => undefined,
): Promise<T> {
  const path = lockPath(cache, id, checksum);
  const text = `${JSON.stringify(describeSelf())}\n`;
  mkdirSync(dirname(path), { recursive: true });
  for (let told = false; !createFileExclusive(path, text); ) {
    const found = readIfThere(path);
    if (found === null) continue;
    const holder = holderOf(found);
    const gone = holder && isHere(holder) ? !isAlive(holder) : !grows(blobPath(cache, id, checksum));
    if (gone && removeStale(path, found)) continue;
    if (!told) waiting(holder ? `process ${holder.pid} on ${holder.host}` : 'another program');
    told = true;
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  const release = (): void => {
    if (readIfThere(path) === text) rmSync(path, { force: true });
  };
  process.on('exit', release);
  try {
    return await work();
  } finally {
    process.off('exit', release);
    release();
  }
}

/** Who holds a lock; null for what reckon did not write: the Python library's locks are empty, and stay when it is done. */
function holderOf(text: string): Holder | null {
  try {
    return holderSchema.parse(JSON.parse(text));
  } catch {
    return null;
  }
}

/** Whether an unfinished download of the blob, under whatever name, was written to a moment ago. */
function grows(blob: string): boolean {
  const folder = dirname(blob);
  try {
    return readdirSync(folder)
      .map((name) => join(folder, name))
      .filter((path) => path.startsWith(`${blob}.`) && path.endsWith('.incomplete'))
      .some((path) => Date.now() - statSync(path).mtimeMs < quietMs);
  } catch {
    // Neither the folder nor the file need stay while they are looked at.
    return false;
  }
}
