/** Owns run.lock: one process a run directory, stale locks taken over. Knows nothing of what the run does. */

import { rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { ReckonError } from '../util/errors.ts';
import { createFileExclusive } from '../util/files.ts';
import { describeSelf, isAlive, type LockHolder, readIfThere, removeStale } from '../util/lock-file.ts';

export type { LockHolder } from '../util/lock-file.ts';

/** The name of the lock inside a run directory. */
export const LOCK_FILE = 'run.lock';

const lockSchema = z.object({
  version: z.literal(1),
  pid: z.int().positive(),
  host: z.string(),
  processStart: z.string().nullable(),
  startedAt: z.string(),
});

/** A lock that is held; `release` removes it and may be called twice. */
export interface RunLock {
  readonly holder: LockHolder;
  /** The dead process from which the lock was taken over, or null. */
  readonly takenFrom: LockHolder | null;
  release(): void;
}

/**
 * Takes the lock of a run directory, which must exist. A live holder, or one on another host, is a ReckonError
 * `run-locked` that names it; the lock of a dead process on this host is taken over.
 */
export function acquireLock(directory: string): RunLock {
  const path = join(directory, LOCK_FILE);
  const holder = describeSelf();
  const text = `${JSON.stringify(holder)}\n`;
  let takenFrom: LockHolder | null = null;
  for (let attempt = 0; attempt < 10; attempt++) {
    if (createFileExclusive(path, text)) return heldLock(path, text, holder, takenFrom);
    const found = readIfThere(path);
    if (found === null) continue;
    const other = parseHolder(path, found);
    if (isAlive(other)) throw lockedError(directory, other);
    if (removeStale(path, found)) takenFrom = other;
  }
  throw new ReckonError('run', 'run-locked', `${path} keeps changing hands; look for other reckon processes`);
}

/** Who holds a run directory now, or null where nobody alive does. */
export function lockHolder(directory: string): LockHolder | null {
  const path = join(directory, LOCK_FILE);
  const text = readIfThere(path);
  if (text === null) return null;
  const holder = parseHolder(path, text);
  return isAlive(holder) ? holder : null;
}

/**
 * Whether a file, by its name, was left aside by a process that died while it took a lock or moved a stale one. Another host's
 * process with such a file is about to be refused, in other words if it is gone.
 */
export function isLeftOfLock(name: string): boolean {
  const pid = /^(?:\.run\.lock\.tmp|run\.lock\.stale)-(\d+)/.exec(name)?.[1];
  return pid !== undefined && !isAlive({ host: hostname(), pid: Number(pid), processStart: null });
}

function heldLock(path: string, text: string, holder: LockHolder, takenFrom: LockHolder | null): RunLock {
  const release = (): void => {
    process.off('exit', release);
    if (readIfThere(path) === text) rmSync(path, { force: true });
  };
  process.on('exit', release);
  return { holder, takenFrom, release };
}

function parseHolder(path: string, text: string): LockHolder {
  try {
    return lockSchema.parse(JSON.parse(text));
  } catch {
    const advice = 'make sure that no other reckon process uses this run, then delete it';
    throw new ReckonError('run', 'run-lock-unreadable', `${path} is not a lock that reckon wrote; ${advice}`);
  }
}

function lockedError(directory: string, { pid, host, startedAt }: LockHolder): ReckonError {
  const here = host === hostname();
  const advice = here
    ? 'wait for it, stop it, or use another --name'
    : `stop it there, or delete ${join(directory, LOCK_FILE)} if it is gone`;
  const who = `process ${pid} on ${host} (since ${startedAt})`;
  return new ReckonError('run', 'run-locked', `${directory} is in use by ${who}; ${advice}`);
}
