/** Owns a stage's `checkpoints/` folder: atomic writes, the newest whole one, pruning. Refuses to know tensors. */

import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ReckonError } from '../util/errors.ts';
import { renameDurably } from '../util/files.ts';
import { findDamage, writeManifest } from './manifest.ts';

/** A checkpoint folder on disk and the step after which it was taken. */
export interface CheckpointFolder {
  readonly step: number;
  readonly path: string;
}

/** A checkpoint that fails its manifest, with what is wrong with it. */
export interface BrokenCheckpoint extends CheckpointFolder {
  readonly reason: string;
}

/** What `newestWholeCheckpoint` found; `broken` lists those it had to skip, newest first. */
export interface CheckpointSearch {
  readonly newest: CheckpointFolder | null;
  readonly broken: readonly BrokenCheckpoint[];
}

/** Where the checkpoint of a step lies: `<stage>/checkpoints/step-000100`. */
export function checkpointPath(stageDirectory: string, step: number): string {
  return join(stageDirectory, 'checkpoints', `step-${String(step).padStart(6, '0')}`);
}

/**
 * Writes a checkpoint so that its folder appears whole or not at all: `fill` writes into a folder aside, then comes
 * the manifest, everything is synced and renamed. A checkpoint of the same step is replaced. What `fill` throws
 * leaves nothing behind.
 */
export async function writeCheckpoint(
  stageDirectory: string,
  step: number,
  fill: (temporaryFolder: string) => void | Promise<void>,
): Promise<CheckpointFolder> {
  if (!Number.isSafeInteger(step) || step < 0) {
    throw new ReckonError(
      'internal',
      'checkpoint-step',
      `a checkpoint's step is a whole number, found ${step}`,
    );
  }
  const path = checkpointPath(stageDirectory, step);
  const temporary = asidePath(stageDirectory, step, 'tmp');
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary, { recursive: true });
  try {
    await fill(temporary);
    writeManifest(temporary, step);
    replaceFolder(temporary, path, asidePath(stageDirectory, step, 'old'));
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    throw error;
  }
  return { step, path };
}

/**
 * The newest checkpoint (of `maxStep` or before) whose files match their manifest, after leftovers of a killed
 * process are cleared away. Broken ones are skipped and returned with what is wrong.
 */
export function newestWholeCheckpoint(
  stageDirectory: string,
  options: { readonly maxStep?: number } = {},
): CheckpointSearch {
  clearLeftovers(stageDirectory);
  const broken: BrokenCheckpoint[] = [];
  for (const checkpoint of listCheckpoints(stageDirectory).reverse()) {
    if (checkpoint.step > (options.maxStep ?? Number.POSITIVE_INFINITY)) continue;
    const reason = findDamage(checkpoint.path, checkpoint.step);
    if (reason === null) return { newest: checkpoint, broken };
    broken.push({ ...checkpoint, reason });
  }
  return { newest: null, broken };
}

/** What is wrong with a checkpoint folder, as part of a sentence; null where all its files match its manifest. */
export function checkpointDamage(path: string): string | null {
  return findDamage(path, stepOf(basename(path)));
}

/**
 * Removes all but the newest `keepLast` checkpoints (at least one), those of `keepSteps`, and the leftovers of a killed
 * process. The newest whole one always stays, even where newer ones are broken. Returns what was removed.
 */
export function pruneCheckpoints(
  stageDirectory: string,
  keepLast: number,
  keepSteps: readonly number[] = [],
): readonly CheckpointFolder[] {
  const { newest } = newestWholeCheckpoint(stageDirectory);
  const surplus = listCheckpoints(stageDirectory)
    .reverse()
    .slice(Math.max(1, Math.floor(keepLast)))
    .filter(({ step }) => step !== newest?.step && !keepSteps.includes(step));
  for (const { step, path } of surplus) removeFolder(path, asidePath(stageDirectory, step, 'tmp'));
  return surplus;
}

/** Every checkpoint folder of a stage, whole or not, by rising step. */
export function listCheckpoints(stageDirectory: string): CheckpointFolder[] {
  return entriesOf(stageDirectory)
    .map((name) => ({ step: stepOf(name), path: join(stageDirectory, 'checkpoints', name) }))
    .filter((checkpoint) => checkpoint.step >= 0)
    .sort((a, b) => a.step - b.step);
}

/** Removes folders that a killed process left aside; an old checkpoint whose successor never came is put back. */
function clearLeftovers(stageDirectory: string): void {
  for (const name of entriesOf(stageDirectory)) {
    const match = /^\.(step-\d{6,})\.(tmp|old)-\d+$/.exec(name);
    if (match === null) continue;
    const leftover = join(stageDirectory, 'checkpoints', name);
    const original = join(stageDirectory, 'checkpoints', match[1]!);
    if (match[2] === 'old' && !existsSync(original)) renameDurably(leftover, original);
    else rmSync(leftover, { recursive: true, force: true });
  }
}

function replaceFolder(from: string, to: string, aside: string): void {
  rmSync(aside, { recursive: true, force: true });
  if (existsSync(to)) renameDurably(to, aside);
  renameDurably(from, to);
  rmSync(aside, { recursive: true, force: true });
}

/** Renames before it removes, so that no half-removed folder bears a checkpoint's name. */
function removeFolder(path: string, aside: string): void {
  renameDurably(path, aside);
  rmSync(aside, { recursive: true, force: true });
}

function asidePath(stageDirectory: string, step: number, kind: 'tmp' | 'old'): string {
  const name = `.step-${String(step).padStart(6, '0')}.${kind}-${process.pid}`;
  return join(stageDirectory, 'checkpoints', name);
}

function entriesOf(stageDirectory: string): string[] {
  const folder = join(stageDirectory, 'checkpoints');
  return existsSync(folder) ? readdirSync(folder) : [];
}

function stepOf(name: string): number {
  const match = /^step-(\d{6,15})$/.exec(name);
  return match === null ? -1 : Number(match[1]);
}
