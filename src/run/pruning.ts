/** Owns which checkpoints of a whole run may go, and removing them. Never the newest whole one of a stage. */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import {
  type CheckpointFolder,
  listCheckpoints,
  newestWholeCheckpoint,
  pruneCheckpoints,
} from '../checkpoints/folder.ts';
import { bestSteps, readMetrics } from '../track/index.ts';
import { isStageFolder } from './directory.ts';
import { acquireLock } from './lock.ts';

/** A checkpoint on disk, and whether pruning removes it. */
export interface PrunableCheckpoint extends CheckpointFolder {
  readonly stage: string;
  readonly bytes: number;
  readonly goes: boolean;
}

/** How many checkpoints of each stage stay: the newest, and those that did best. */
export interface Keep {
  readonly last: number;
  readonly best: number;
}

/** Every checkpoint of a run; `goes` where it is none that is kept, nor the newest whole one. */
export function planPruning(runDirectory: string, keep: Keep): PrunableCheckpoint[] {
  return stagesOf(runDirectory).flatMap((stage) => {
    const directory = join(runDirectory, stage);
    const all = listCheckpoints(directory);
    const { newest } = newestWholeCheckpoint(directory);
    const best = bestOf(directory, keep.best);
    return all.map((checkpoint, i) => ({
      ...checkpoint,
      stage,
      bytes: bytesOf(checkpoint.path),
      goes:
        i < all.length - Math.max(1, keep.last) &&
        checkpoint.step !== newest?.step &&
        !best.includes(checkpoint.step),
    }));
  });
}

/** Removes what `planPruning` says, under the run's lock: a run at work is refused. */
export function pruneRun(runDirectory: string, keep: Keep): void {
  const lock = acquireLock(runDirectory);
  try {
    for (const stage of stagesOf(runDirectory)) {
      const directory = join(runDirectory, stage);
      pruneCheckpoints(directory, keep.last, bestOf(directory, keep.best));
    }
  } finally {
    lock.release();
  }
}

function bestOf(directory: string, count: number): number[] {
  const metrics = join(directory, 'metrics.jsonl');
  if (count < 1 || !existsSync(metrics)) return [];
  const steps = listCheckpoints(directory).map(({ step }) => step);
  return bestSteps(readMetrics(metrics), steps, count);
}

function stagesOf(runDirectory: string): string[] {
  return readdirSync(runDirectory).filter(isStageFolder).sort();
}

function bytesOf(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => statSync(join(folder, name)))
    .reduce((sum, stat) => sum + (stat.isFile() ? stat.size : 0), 0);
}
