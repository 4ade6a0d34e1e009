/** Owns run.lock: one process a run directory, stale locks taken over. Knows nothing of what the run does. */

import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import * as z from 'zod';
import { ReckonError } from '../util/errors.ts';
import { createFileExclusive, errorCode } from '../util/files.ts';

/** The name of the lock inside a run directory. */
export const LOCK_FILE = 'run.lock';

const lockSchema = z.object({
  version: z.literal(1),
  pid: z.int().positive(),
  host: z.string(),
  processStart: z.string().nullable(),
  startedAt: z.string(),
});

/** Who holds a run. `processStart` tells a process from a later one that got the same number. */
export interface LockHolder {
  readonly version: 1;
  readonly pid: number;
  readonly host: string;
  readonly processStart: string | null;
  readonly startedAt: string;
}

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
    const found = readText(path);
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
  const text = readText(path);
  if (text === null) return null;
  const holder = parseHolder(path, text);
  return isAlive(holder) ? holder : null;
}

function heldLock(path: string, text: string, holder: LockHolder, takenFrom: LockHolder | null): RunLock {
  const release = (): void => {
    process.off('exit', release);
    if (readText(path) === text) rmSync(path, { force: true });
  };
  process.on('exit', release);
  return { holder, takenFrom, release };
}

function describeSelf(): LockHolder {
  return {
    version: 1,
    pid: process.pid,
    host: hostname(),
    processStart: processStart(process.pid),
    startedAt: new Date().toISOString(),
  };
}

function parseHolder(path: string, text: string): LockHolder {
  try {
    return lockSchema.parse(JSON.parse(text));
  } catch {
    const advice = 'make sure that no other reckon process uses this run, then delete it';
    throw new ReckonError('run', 'run-lock-unreadable', `${path} is not a lock that reckon wrote; ${advice}`);
  }
}

function isAlive(holder: LockHolder): boolean {
  if (holder.host !== hostname()) return true;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false;
  }
  const start = processStart(holder.pid);
  if (start === ZOMBIE) return false;
  return start === null || holder.processStart === null || start === holder.processStart;
}

/** What stands for the start of a process that was killed and whose parent has not taken notice. */
const ZOMBIE = 'zombie';

/** When a process began, in the system's own words; null where the system does not tell. */
function processStart(pid: number): string | null {
  try {
    if (process.platform !== 'linux') return startFromPs(pid);
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return afterName[0] === 'Z' ? ZOMBIE : `${boot} ${afterName[19] ?? ''}`;
  } catch {
    return null;
  }
}

function startFromPs(pid: number): string | null {
  const text = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8' }).trim();
  return text === '' ? null : text;
}

/** Moves a stale lock away; puts it back when another process has replaced it in between. */
function removeStale(path: string, expected: string): boolean {
  const aside = `${path}.stale-${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
  const found = readText(aside);
  rmSync(aside, { force: true });
  if (found === expected || found === null) return true;
  createFileExclusive(path, found);
  return false;
}

function lockedError(directory: string, { pid, host, startedAt }: LockHolder): ReckonError {
  const here = host === hostname();
  const advice = here
    ? 'wait for it, stop it, or use another --name'
    : `stop it there, or delete ${join(directory, LOCK_FILE)} if it is gone`;
  const who = `process ${pid} on ${host} (since ${startedAt})`;
  return new ReckonError('run', 'run-locked', `${directory} is in use by ${who}; ${advice}`);
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
}
