/** Owns the run directory: where it lies, what may be in it, opening it under its lock. Knows no stage's work. */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { formatRecipe, parseResolved, type Recipe } from '../recipe/index.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { acquireLock, isLeftOfLock, LOCK_FILE, type RunLock } from './lock.ts';

/** A run directory that this process holds. */
export interface RunDirectory {
  readonly path: string;
  readonly lock: RunLock;
  /** The recipe that the run had when it was last started, or null at the first start. */
  readonly previousRecipe: Recipe | null;
}

/** Where a run lies and whether what is there is thrown away. */
export interface OpenRunOptions {
  readonly runsDirectory: string;
  readonly name: string;
  readonly fresh?: boolean | undefined;
}

const KNOWN_FILES: readonly string[] = [
  'recipe.yaml',
  'environment.json',
  'time.json',
  'energy.json',
  'hub.json',
  'run.log',
  'summary.json',
  'report.html',
  'report.md',
  'evaluations',
  'comparisons',
  'tensorboard',
  'wandb',
];

/**
 * Makes or opens `<runsDirectory>/<name>` and takes its lock. `fresh` empties it first, under the lock, and only when
 * everything in it is a run's. A folder that is no run is refused.
 */
export function openRun({ runsDirectory, name, fresh = false }: OpenRunOptions): RunDirectory {
  const path = resolve(runsDirectory, name);
  if (existsSync(path) && !statSync(path).isDirectory()) fail(`${path} is a file; use another --name`);
  mkdirSync(path, { recursive: true });
  if (fresh || !existsSync(join(path, 'recipe.yaml'))) refuseForeign(path, fresh);
  const lock = acquireLock(path);
  try {
    if (fresh) emptyRun(path);
    clearLeftovers(path);
    return { path, lock, previousRecipe: readRunRecipe(path) };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** The resolved recipe of a run directory, or null where none was written yet. */
export function readRunRecipe(path: string): Recipe | null {
  const file = join(path, 'recipe.yaml');
  if (!existsSync(file)) return null;
  try {
    return parseResolved(readFileSync(file, 'utf8'), file);
  } catch (error) {
    const advice = 'start again with --fresh or another --name';
    throw new ReckonError('run', 'run-recipe-unreadable', `${messageOf(error)}; ${advice}`, { cause: error });
  }
}

/** Writes the resolved recipe into the run directory. */
export function writeRunRecipe(path: string, recipe: Recipe): void {
  writeFileAtomic(join(path, 'recipe.yaml'), formatRecipe(recipe));
}

/** True for names that a run directory is made of. */
function isRunEntry(name: string): boolean {
  if (KNOWN_FILES.includes(name) || name === LOCK_FILE || name.startsWith(`${LOCK_FILE}.stale-`)) return true;
  return isStageFolder(name) || (name.startsWith('.') && name.includes('.tmp-'));
}

/** True for names such as `03-sft`. */
export function isStageFolder(name: string): boolean {
  return /^\d{2,3}-[a-z][a-z0-9-]*$/.test(name);
}

function refuseForeign(path: string, fresh: boolean): void {
  const foreign = readdirSync(path).find((name) => !isRunEntry(name));
  if (foreign === undefined) return;
  const advice = fresh ? 'move it away before --fresh' : 'use another --name or --runs-dir';
  fail(`${path} holds ${foreign}, which is no part of a run; ${advice}`);
}

function emptyRun(path: string): void {
  // The recipe goes last: a --fresh that is cut off leaves something that is still known as a run.
  const names = readdirSync(path).filter((name) => name !== LOCK_FILE && name !== 'recipe.yaml');
  for (const name of [...names, 'recipe.yaml']) rmSync(join(path, name), { recursive: true, force: true });
}

/** Removes what killed processes were writing aside; beside the lock there may be a file of one that lives, about to be refused. */
function clearLeftovers(path: string): void {
  for (const entry of readdirSync(path, { recursive: true, encoding: 'utf8' })) {
    const name = basename(entry);
    const isAside = name.startsWith('.') && name.includes('.tmp-') && !name.startsWith(`.${LOCK_FILE}.`);
    if (isAside || isLeftOfLock(name)) rmSync(join(path, entry), { recursive: true, force: true });
  }
}

function fail(message: string): never {
  throw new ReckonError('run', 'run-directory', message);
}
