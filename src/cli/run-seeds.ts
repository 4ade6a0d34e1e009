/** Owns `reckon run --seeds`: a recipe once with each seed, one after the other, and the report of their spread. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Recipe } from '../recipe/index.ts';
import { writeSeedsReport } from '../report/index.ts';
import type { RunResult } from '../run/index.ts';
import { ReckonError } from '../util/errors.ts';

/** The seeds that are done, and the folder that holds their runs. */
export interface SeedsResult {
  readonly status: RunResult['status'];
  readonly directory: string;
  readonly runs: readonly RunResult[];
  /** Null until all are done. */
  readonly report: string | null;
}

/**
 * Runs into `<folder>/seed-1`, `seed-2`, ...; finished seeds are passed over in a moment, so that the same command goes on
 * from where it was stopped.
 */
export async function runSeeds(
  folder: string,
  seeds: readonly number[],
  open: (seed: number, name: string) => Promise<Recipe>,
  run: (recipe: Recipe, runsDirectory: string, since?: number) => Promise<RunResult>,
): Promise<SeedsResult> {
  if (existsSync(join(folder, 'recipe.yaml'))) {
    const message = `${folder} is itself a run; give the runs of --seeds another --name`;
    throw new ReckonError('usage', 'seeds-in-run', message);
  }
  const runs: RunResult[] = [];
  for (const seed of seeds) {
    // What came before the first seed, set-up too, is the first one's time; the time of a seed is no later one's.
    const since = runs.length === 0 ? undefined : performance.now();
    const result = await run(await open(seed, `seed-${seed}`), folder, since);
    runs.push(result);
    if (result.status !== 'done') return { status: result.status, directory: folder, runs, report: null };
  }
  const { markdownPath } = writeSeedsReport(folder);
  return { status: 'done', directory: folder, runs, report: markdownPath };
}
