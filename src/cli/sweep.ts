/** Owns `reckon sweep`: a recipe once for each combination of values, several at once, with a table and a chart. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { openRecipe, type Recipe, suggest } from '../recipe/index.ts';
import { type SweepRun, writeSweepReport } from '../report/index.ts';
import {
  automaticThreads,
  type PointOutcome,
  parseAxis,
  runSweep,
  type SweepPoint,
  sweepPoints,
  watchSignals,
} from '../run/index.ts';
import { ReckonError } from '../util/errors.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { collect, positive } from './values.ts';

interface SweepCommandOptions extends GlobalOptions {
  readonly grid?: readonly string[];
  readonly list?: readonly string[];
  readonly set?: readonly string[];
  readonly name?: string;
  readonly runsDir: string;
  readonly jobs: number;
  readonly split: string;
  readonly measure?: string;
  readonly dryRun?: boolean;
}

/** Adds the command; `finish` takes its exit code. */
export function addSweepCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('sweep')
    .description('run a recipe once for each combination of values, and compare them on validation problems')
    .argument('<recipe>', 'recipe file (YAML or TypeScript)')
    .option('--grid <key=a,b>', 'a key and its values; several grids are combined; may be repeated', collect)
    .option(
      '--list <key=a,b>',
      'a key and its values; several lists are taken in parallel; may be repeated',
      collect,
    )
    .option('--set <key=value>', 'change a key in all runs; may be repeated', collect)
    .option('--name <name>', "name of the sweep; by default the recipe's with -sweep behind it")
    .option('--runs-dir <folder>', 'folder that holds the sweep', 'runs')
    .option('--jobs <n>', 'runs at the same time', positive, 1)
    .option('--split <split>', 'problems that runs are compared on', 'validation')
    .option('--measure <label>', 'evaluation that is compared; by default the last of each run')
    .option('--dry-run', 'check every run and list them, without running')
    .addHelpText(
      'after',
      '\nExample:\n  reckon sweep recipes/quickstart/recipe.yaml --grid sft.learningRate=5e-4,1.5e-3 --grid sft.steps=300,1100 --jobs 2',
    )
    .action(async (recipe: string, _options, command: Command) => {
      finish(await sweep(recipe, command.optsWithGlobals<SweepCommandOptions>()));
    });
}

async function sweep(file: string, options: SweepCommandOptions): Promise<ExitCode> {
  const grid = (options.grid ?? []).map(parseAxis);
  const lists = (options.list ?? []).map(parseAxis);
  const points = sweepPoints(grid, lists);
  const recipes = await Promise.all(
    points.map((point) => openRecipe(file, { set: settings(point, options), name: options.name })),
  );
  checkMeasure(recipes[0]!, options.measure);
  const name = options.name ?? `${recipes[0]!.name}-sweep`;
  const folder = join(options.runsDir, name);
  const keys = [...grid, ...lists].map(({ key }) => key);
  if (options.dryRun === true) {
    const list = points.map((point) => `${point.name}: ${settings(point, options).join(' ')}`);
    printResult(options, { name, points }, list.join('\n'));
    return 0;
  }
  mkdirSync(folder, { recursive: true });
  const outcomes = await runAll(file, folder, points, options);
  const runs = points.map((point) => statusOf(point, outcomes));
  const report = writeSweepReport(folder, { name, keys, runs, measure: options.measure });
  printResult(
    options,
    { name, directory: folder, runs, ...report },
    `\n${report.table}\n\n${report.chartPath}`,
  );
  if (outcomes.length < points.length || runs.some(({ status }) => status === 'stopped')) return 130;
  return runs.some(({ status }) => status === 'failed') ? 1 : 0;
}

/** An evaluation that no run makes would leave the table empty. */
function checkMeasure({ stages }: Recipe, measure: string | undefined): void {
  const labels = stages.flatMap((stage) => (stage.type === 'evaluate' ? [stage.label] : []));
  if (measure === undefined || labels.includes(measure)) return;
  const message = `--measure ${measure} names no evaluation of the recipe; ${suggest(measure, labels)}`;
  throw new ReckonError('usage', 'sweep', message);
}

/** What a point sets, with what all points set before it: a swept key wins. */
function settings(point: SweepPoint, { set = [], split }: SweepCommandOptions): string[] {
  const own = Object.entries(point.set).map(([key, value]) => `${key}=${value}`);
  return [`evaluation.split=${split}`, ...set, ...own];
}

async function runAll(
  file: string,
  folder: string,
  points: readonly SweepPoint[],
  options: SweepCommandOptions,
): Promise<PointOutcome[]> {
  const say = (line: string): void => {
    if (options.quiet !== true) (options.json === true ? process.stderr : process.stdout).write(`${line}\n`);
  };
  const threads = Math.max(1, Math.floor(automaticThreads() / options.jobs));
  const signals = watchSignals((signal) => say(`${signal}: the runs stop at the end of their step`));
  const place = (point: SweepPoint): string =>
    `[${points.indexOf(point) + 1}/${points.length}] ${point.name}`;
  try {
    return await runSweep(points, {
      jobs: options.jobs,
      env: { RECKON_THREADS: String(threads), RECKON_STARTED_AT: undefined },
      stopRequested: signals.stopRequested,
      command: (point) => [
        process.execPath,
        ...process.execArgv,
        process.argv[1]!,
        ...['run', file, '--runs-dir', folder, '--name', point.name, '--quiet'],
        ...settings(point, options).flatMap((setting) => ['--set', setting]),
      ],
      started: (point) => say(`${place(point)}: started, log in ${join(folder, point.name, 'run.log')}`),
      ended: ({ point, status, error }) =>
        say(`${place(point)}: ${status}${error === null ? '' : `: ${error}`}`),
    });
  } finally {
    signals.dispose();
  }
}

function statusOf(point: SweepPoint, outcomes: readonly PointOutcome[]): SweepRun {
  const outcome = outcomes.find((one) => one.point.name === point.name);
  return { ...point, status: outcome?.status ?? 'waiting', error: outcome?.error ?? null };
}
