/** Owns which checkpoints of a whole run may go, and removing them. Never the newest whole one of a stage. */

import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointFolder,
  listCheckpoints,
  newestWholeCheckpoint,
  pruneCheckpoints,
} from '../checkpoints/folder.ts';
import { isStageFolder } from './directory.ts';
import { acquireLock } from './lock.ts';

/** A checkpoint on disk, and whether pruning removes it. */
export interface PrunableCheckpoint extends CheckpointFolder {
  readonly stage: string;
  readonly bytes: number;
  readonly goes: boolean;
}

/** Every checkpoint of a run; `goes` where it is not among the newest `keepLast` nor the newest whole one. */
export function planPruning(runDirectory: string, keepLast: number): PrunableCheckpoint[] {
  return stagesOf(runDirectory).flatMap((stage) => {
    const directory = join(runDirectory, stage);
    const all = listCheckpoints(directory);
    const { newest } = newestWholeCheckpoint(directory);
    return all.map((checkpoint, i) => ({
      ...checkpoint,
      stage,
      bytes: bytesOf(checkpoint.path),
      goes: i < all.length - Math.max(1, keepLast) && checkpoint.step !== newest?.step,
    }));
  });
}

/** Removes what `planPruning` says, under the run's lock: a run at work is refused. */
export function pruneRun(runDirectory: string, keepLast: number): void {
  const lock = acquireLock(runDirectory);
  try {
    for (const stage of stagesOf(runDirectory)) pruneCheckpoints(join(runDirectory, stage), keepLast);
  } finally {
    lock.release();
  }
}

function stagesOf(runDirectory: string): string[] {
  return readdirSync(runDirectory).filter(isStageFolder).sort();
}

function bytesOf(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => statSync(join(folder, name)))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
}
