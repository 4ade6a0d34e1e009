/** Owns how much disk is free for a run, and whether that is enough. Writes nothing. */

import { existsSync, statfsSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { ReckonError } from '../util/errors.ts';
import { formatBytes } from '../util/format.ts';

/** Free bytes on the disk of a folder, or of the nearest one above it that exists. */
export function diskFree(folder: string): number {
  const path = resolve(folder);
  if (!existsSync(path)) return diskFree(dirname(path));
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

/** Refuses a run whose files will not fit, before it begins; what is there already counts as free. */
export function requireDisk(folder: string, neededBytes: number): void {
  const free = diskFree(folder);
  if (neededBytes <= free) return;
  const what = `this run needs about ${formatBytes(neededBytes)} of disk in ${folder}, and ${formatBytes(free)} are free`;
  const advice = 'free some space, keep fewer checkpoints (checkpoints.keepLast), or use another --runs-dir';
  throw new ReckonError('environment', 'disk-too-small', `${what}; ${advice}`);
}
