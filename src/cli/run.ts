/** Owns `reckon run`: parses, validates, hands over to the run, prints how it ended. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { derivePlan, estimate, openRecipe, type Recipe } from '../recipe/index.ts';
import { executeRun, type RunResult, requireDisk, type StageModule, thisMachine } from '../run/index.ts';
import { ReckonError } from '../util/errors.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { runSeeds } from './run-seeds.ts';
import { collect, seedList, wholeNumber } from './values.ts';

interface RunOptions extends GlobalOptions {
  readonly name?: string;
  readonly runsDir: string;
  readonly seed?: number;
  readonly seeds?: readonly number[];
  readonly set?: readonly string[];
  readonly fresh?: boolean;
  readonly from?: string;
  readonly only?: string;
  readonly resumeFrom?: string;
  readonly extend?: boolean;
  readonly allowInexact?: boolean;
}

/** Adds the command; `finish` takes its exit code. */
export function addRunCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('run')
    .description('run a recipe, or resume a run that was stopped')
    .argument('<recipe>', 'recipe file (YAML or TypeScript)')
    .option('--name <name>', "name of the run; by default the recipe's")
    .option('--runs-dir <folder>', 'folder that holds the runs', 'runs')
    .option('--seed <n>', 'seed of every random number', wholeNumber)
    .option(
      '--seeds <list>',
      'run once with each of these seeds, into <name>/seed-N, and report the spread',
      seedList,
    )
    .option('--set <key=value>', 'change a key, such as sft.steps=100; may be repeated', collect)
    .option('--fresh', 'discard what the run has done so far and start again')
    .option('--from <stage>', 'run this stage and all later ones again; by folder, type, label or number')
    .option('--only <stage>', 'run this stage alone')
    .option(
      '--resume-from <checkpoint>',
      'resume from an earlier checkpoint of this run, by its folder or as stage:step',
    )
    .option('--extend', 'continue a finished stage that has more steps in the recipe now')
    .option(
      '--allow-inexact',
      'resume on another machine or build, where results may differ in the last bits',
    )
    .addHelpText(
      'after',
      '\nExample:\n  reckon run recipes/quickstart/recipe.yaml --seed 1 --set sft.steps=100',
    )
    .action(async (recipe: string, _options, command: Command) => {
      finish(await run(recipe, command.optsWithGlobals<RunOptions>()));
    });
}

async function run(file: string, options: RunOptions): Promise<ExitCode> {
  const recipe = await openRecipe(file, options);
  const { seeds, seed, runsDir } = options;
  if (seeds !== undefined && seed !== undefined)
    throw new ReckonError(
      'usage',
      'seed-and-seeds',
      '--seed and --seeds both say the seed; give one of them',
    );
  const result = seeds
    ? await runSeeds(
        join(runsDir, recipe.name),
        seeds,
        (seed, name) => openRecipe(file, { ...options, seed, name }),
        (one, folder, since) => start(one, folder, options, since),
      )
    : await start(recipe, runsDir, options);
  if ('report' in result && result.report !== null && options.json !== true)
    printResult(options, result, `the spread over seeds: ${result.report}`);
  if (options.json === true) printResult(options, result, '');
  return result.status === 'done' ? 0 : 130;
}

function start(
  recipe: Recipe,
  runsDirectory: string,
  options: RunOptions,
  since?: number,
): Promise<RunResult> {
  requireRoom(recipe, runsDirectory);
  return executeRun(recipe, {
    runsDirectory,
    fresh: options.fresh,
    allowInexact: options.allowInexact,
    quiet: options.quiet,
    selection: options,
    stream: options.json === true ? process.stderr : process.stdout,
    since,
    load: loadStages,
  });
}

/** Refuses a run that has not begun and whose files will not fit. */
function requireRoom(recipe: Recipe, runsDirectory: string): void {
  if (existsSync(join(runsDirectory, recipe.name, 'recipe.yaml'))) return;
  const found = estimate(recipe, derivePlan(recipe), thisMachine());
  if (found !== null) requireDisk(runsDirectory, found.diskPeakBytes);
}

/** Loads libtorch: only now, so that --help and recipe errors come at once. */
function loadStages(): Promise<StageModule> {
  return import('../run/stage-functions.ts');
}
