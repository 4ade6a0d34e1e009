/** Owns where tests that write many checkpoints put them. Half of the time of such a test is waiting for the disk. */

import { existsSync, mkdtempSync, statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const MEMORY = '/dev/shm';
const TMPFS = 0x0102_1994;
const ENOUGH = 2 ** 31;

/** A new folder in a file system that lies in memory, where there is one with 2 GiB to spare; else among the temporary files. */
export function roomyFolder(prefix: string): string {
  return mkdtempSync(join(inMemory() ? MEMORY : tmpdir(), prefix));
}

function inMemory(): boolean {
  if (!existsSync(MEMORY)) return false;
  const { type, bavail, bsize } = statfsSync(MEMORY);
  return type === TMPFS && bavail * bsize >= ENOUGH;
}
