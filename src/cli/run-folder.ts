/** Owns how commands find the run that a user names. Reads nothing of it. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ReckonError } from '../util/errors.ts';

/** A name means a run of the runs folder; what exists as a path is meant as one otherwise. */
export function runFolder(run: string, runsDirectory: string): string {
  const named = join(runsDirectory, run);
  return existsSync(named) || !existsSync(run) ? named : run;
}

/** `runFolder` of a run that is there; throws `run-not-found`, with where it was looked for. */
export function existingRun(run: string, runsDirectory: string): string {
  const folder = runFolder(run, runsDirectory);
  if (existsSync(join(folder, 'recipe.yaml'))) return folder;
  const message = `there is no run at ${folder}; \`reckon runs\` lists those of a folder, --runs-dir names another`;
  throw new ReckonError('run', 'run-not-found', message);
}
