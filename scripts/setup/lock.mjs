/** One set-up at a time in a folder: a lock file with a heartbeat; it knows nothing of what is done under it. */
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SetupFailure } from './failure.mjs';
import { readJson, removeOnInterrupt } from './files.mjs';

const HEARTBEAT_MS = 2000;
const SILENT_MS = 20_000;
const GIVE_UP_MS = 30 * 60_000;

/** Runs `use` while holding the lock at `path`, waiting for its holder; the lock of a dead or silent holder is taken over. */
export async function withLock(path, use, { line = () => {}, giveUpMs = GIVE_UP_MS } = {}) {
  mkdirSync(dirname(path), { recursive: true });
  const started = Date.now();
  for (let told = false; !tryTake(path); told = true) {
    if (!told) line(`waiting for another set-up to finish (${path})`);
    if (Date.now() - started > giveUpMs) {
      throw new SetupFailure(
        `Another set-up has held ${path} too long: stop it, delete that file, and run again.`,
      );
    }
    if (isDead(path)) takeAway(path);
    else await sleep(200);
  }
  const forget = removeOnInterrupt(path);
  const beat = setInterval(() => touch(path), HEARTBEAT_MS);
  beat.unref();
  try {
    return await use();
  } finally {
    clearInterval(beat);
    rmSync(path, { force: true });
    forget();
  }
}

function tryTake(path) {
  try {
    writeFileSync(path, JSON.stringify({ pid: process.pid, host: hostname() }), { flag: 'wx' });
    return true;
  } catch (error) {
    if (error.code === 'EEXIST') return false;
    throw error;
  }
}

function isDead(path) {
  const silent = Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Date.now());
  if (silent > SILENT_MS) return true;
  const holder = readJson(path);
  return holder !== null && holder.host === hostname() && !isAlive(holder.pid);
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/* Two waiters may both find a dead holder: each renames what it judged, and one that caught a newer lock puts it back. */
function takeAway(path) {
  const judged = read(path);
  const aside = `${path}.${process.pid}.dead`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (judged !== read(aside)) renameSync(aside, path);
  else rmSync(aside, { force: true });
}

function read(path) {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}

function touch(path) {
  try {
    const now = new Date();
    utimesSync(path, now, now);
  } catch {
    // The lock was taken away: the step in progress still ends with renames of whole files.
  }
}
