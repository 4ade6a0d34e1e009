/** Owns what can be said of runs from their files alone: state, place, best result. Changes nothing. */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { readRun } from '../report/read-run.ts';
import { ReckonError } from '../util/errors.ts';
import { readRunRecipe } from './directory.ts';
import { lockHolder } from './lock.ts';

/** `running`: a process holds it; `done`: every stage is; `stopped`: neither, it can be gone on with. */
export type RunState = 'running' | 'done' | 'stopped' | 'unreadable';

/** One run of a runs folder. */
export interface RunSummary {
  readonly name: string;
  readonly path: string;
  readonly state: RunState;
  /** The stage that is or was last at work, and its last step; null before any. */
  readonly stage: string | null;
  readonly step: number | null;
  /** The best evaluation by pass@1, with the label that names it. */
  readonly best: { readonly label: string; readonly passAt1: number } | null;
  /** Last change of its files, milliseconds since 1970. */
  readonly changedAt: number;
}

/** Every run below a folder, the one that changed last first; folders that are no runs are passed over. */
export function listRuns(runsDirectory: string): RunSummary[] {
  if (!existsSync(runsDirectory)) {
    const message = `there is no runs folder ${runsDirectory}; start a run, or name the folder with --runs-dir`;
    throw new ReckonError('run', 'runs-missing', message);
  }
  return readdirSync(runsDirectory)
    .filter((name) => existsSync(join(runsDirectory, name, 'recipe.yaml')))
    .map((name) => summaryOf(name, join(runsDirectory, name)))
    .sort((a, b) => b.changedAt - a.changedAt);
}

function summaryOf(name: string, path: string): RunSummary {
  const { stages, evaluations } = readRun(path);
  const current = stages.findLast((stage) => stage.status !== 'unknown');
  const best = evaluations.toSorted((a, b) => b.passAt1.mean - a.passAt1.mean)[0];
  return {
    name,
    path,
    state: stateOf(
      path,
      stages.map((stage) => stage.status),
    ),
    stage: current?.folder ?? null,
    step: current?.metrics.at(-1)?.step ?? null,
    best: best ? { label: best.label, passAt1: best.passAt1.mean } : null,
    changedAt: Math.max(...['run.log', 'recipe.yaml'].map((file) => changed(join(path, file)))),
  };
}

function stateOf(path: string, statuses: readonly string[]): RunState {
  try {
    if (lockHolder(path) !== null) return 'running';
    const recipe = readRunRecipe(path);
    const done = statuses.filter((status) => status === 'done').length;
    return done === recipe?.stages.length ? 'done' : 'stopped';
  } catch {
    return 'unreadable';
  }
}

function changed(path: string): number {
  return existsSync(path) ? statSync(path).mtimeMs : 0;
}
