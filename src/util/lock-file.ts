/**
 * Owns who holds a lock file: how a process describes itself, whether another one is still there, and moving a dead one's
 * lock away. Knows not what is locked.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync, renameSync, rmSync } from 'node:fs';
import { hostname } from 'node:os';
import { createFileExclusive, errorCode } from './files.ts';

/** Who holds a lock. `processStart` tells a process from a later one that got the same number. */
export interface LockHolder {
  readonly version: 1;
  readonly pid: number;
  readonly host: string;
  readonly processStart: string | null;
  readonly startedAt: string;
}

/** This process, as a lock file names it. */
export function describeSelf(): LockHolder {
  return {
    version: 1,
    pid: process.pid,
    host: hostname(),
    processStart: processStart(process.pid),
    startedAt: new Date().toISOString(),
  };
}

/** Whether the holder runs on this machine, so that `isAlive` knows. */
export function isHere({ host }: Pick<LockHolder, 'host'>): boolean {
  return host === hostname();
}

/** Whether the holder is still there; of one on another host nothing is known, and it counts as alive. */
export function isAlive(holder: Pick<LockHolder, 'host' | 'pid' | 'processStart'>): boolean {
  if (!isHere(holder)) return true;
  try {
    process.kill(holder.pid, 0);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false;
  }
  const start = processStart(holder.pid);
  if (start === ZOMBIE) return false;
  return start === null || holder.processStart === null || start === holder.processStart;
}

/** Moves a stale lock away; puts it back, and says false, when another process has replaced it in between. */
export function removeStale(path: string, expected: string): boolean {
  const aside = `${path}.stale-${process.pid}`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
  const found = readIfThere(aside);
  rmSync(aside, { force: true });
  if (found === expected || found === null) return true;
  createFileExclusive(path, found);
  return false;
}

/** A file's text, or null where there is none. */
export function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
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
  // Times are written in the words and the zone of who asks, so everybody asks in the same.
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
  const text = execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', env }).trim();
  return text === '' ? null : text;
}
