/**
 * Owns the report of one recipe run with several seeds: every evaluation's spread, and the methods compared where a recipe
 * trains several from one start. Reads and writes files; runs nothing.
 */

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Evaluation } from '../evaluate/evaluation.ts';
import { writeFileAtomic } from '../util/files.ts';
import { formatPercent } from '../util/format.ts';
import { mean, std } from '../util/statistics.ts';
import { chartFile } from './charts.ts';
import { markdownTable } from './markdown-table.ts';
import { methodResults } from './methods.ts';
import { type MethodClock, methodCharts, methodsMarkdown } from './methods-report.ts';
import { readRun } from './read-run.ts';

/** What {@link writeSeedsReport} wrote. */
export interface SeedsReport {
  readonly markdownPath: string;
  readonly markdown: string;
  /** The charts of the methods, empty where there are fewer than two to compare. */
  readonly chartPaths: readonly string[];
}

/** The runs of a folder that holds one recipe with several seeds, `seed-1` before `seed-10`; empty for other folders. */
export function seedRuns(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /^seed-\d+$/.test(name) && existsSync(join(folder, name, 'recipe.yaml')))
    .sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)))
    .map((name) => join(folder, name));
}

/** Writes seeds.md, and methods-tokens.svg and methods-time.svg where there are methods to compare. */
export function writeSeedsReport(folder: string, clock: MethodClock = 'wall'): SeedsReport {
  const runs = seedRuns(folder);
  const methods = methodResults(runs);
  const charts = methods.length < 2 ? [] : methodCharts(methods, clock);
  const chartPaths = charts.map(({ file, spec }) => {
    writeFileAtomic(join(folder, file), chartFile(spec));
    return join(folder, file);
  });
  const markdown = [
    ...(methods.length < 2 ? [] : [methodsMarkdown(methods)]),
    seedsMarkdown(runs.map((run) => readRun(run).evaluations)),
  ].join('\n\n');
  const markdownPath = join(folder, 'seeds.md');
  writeFileAtomic(markdownPath, `${markdown}\n`);
  return { markdownPath, markdown, chartPaths };
}

/** Every evaluation by its label: each seed, mean and standard deviation over the seeds. */
export function seedsMarkdown(evaluations: readonly (readonly Evaluation[])[]): string {
  const labels = [...new Set(evaluations.flatMap((all) => all.map(({ label }) => label)))];
  const rows = labels.map((label) => {
    const shares = evaluations.map((all) => all.find((one) => one.label === label)?.passAt1.mean);
    const known = shares.filter((share) => share !== undefined);
    const spread = known.length < 2 ? '' : (100 * std(known, 1)).toFixed(1);
    return [
      label,
      ...shares.map((share) => (share === undefined ? '' : formatPercent(share))),
      formatPercent(mean(known)),
      spread,
    ];
  });
  const seeds = evaluations.map((all, i) => `seed ${all[0]?.seed ?? i + 1}`);
  const table = markdownTable([['pass@1', ...seeds, 'mean', 'std'], ...rows]);
  return `${table}\n\nstd: standard deviation over seeds (n - 1), in points.`;
}
