/** Owns `reckon show`: what a run has done, and the transcripts of its rollouts with their rewards. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Command, Option } from 'commander';
import { ReckonError } from '../util/errors.ts';
import { painterFor } from '../util/format.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { existingRun } from './run-folder.ts';
import { wholeNumber } from './values.ts';

interface ShowOptions extends GlobalOptions {
  readonly runsDir: string;
  readonly rollouts?: boolean;
  readonly stage?: string;
  readonly step?: number;
  readonly problem?: string;
  readonly verdict?: string;
  readonly limit: number;
}

/** Adds the command; `finish` takes its exit code. */
export function addShowCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('show')
    .description('print the results of a run, or its rollouts with their rewards')
    .argument('<run>', 'name of a run, or its folder')
    .option('--runs-dir <folder>', 'folder that holds the runs', 'runs')
    .option('--rollouts', 'transcripts of training rollouts, the newest step first')
    .option('--stage <folder>', 'stage whose rollouts are shown; by default the last that has any')
    .option('--step <n>', 'rollouts of one step', wholeNumber)
    .option('--problem <id>', 'rollouts of one problem')
    .addOption(
      new Option('--verdict <verdict>', 'rollouts of one verdict').choices([
        'correct',
        'incorrect',
        'unverifiable',
      ]),
    )
    .option('--limit <n>', 'how many rollouts to show at most', wholeNumber, 5)
    .addHelpText('after', '\nExample:\n  reckon show quickstart --rollouts --verdict incorrect --limit 3')
    .action(async (run: string, _options, command: Command) => {
      const options = command.optsWithGlobals<ShowOptions>();
      const folder = existingRun(run, options.runsDir);
      await (options.rollouts === true ? showRollouts(folder, options) : showResults(folder, options));
      finish(0);
    });
}

async function showResults(folder: string, options: ShowOptions): Promise<void> {
  const { readRun, terminalReport } = await import('../report/index.ts');
  const run = readRun(folder);
  const stages = run.stages.map((stage) => ({
    folder: stage.folder,
    status: stage.status,
    steps: stage.metrics.at(-1)?.step ?? 0,
  }));
  const list = stages.map(
    ({ folder: name, status, steps }) => `${name}: ${status}${steps ? `, step ${steps}` : ''}`,
  );
  const text = `${list.join('\n')}\n\n${terminalReport(run, painterFor(process.stdout)).trimEnd()}`;
  printResult(options, { name: run.name, stages, evaluations: run.evaluations, notes: run.notes }, text);
}

async function showRollouts(folder: string, options: ShowOptions): Promise<void> {
  const { readRollouts, rolloutText } = await import('../report/index.ts');
  const stage = options.stage ?? (await lastWithRollouts(folder));
  if (!existsSync(join(folder, stage)))
    throw new ReckonError(
      'usage',
      'no-such-stage',
      `the run ${folder} has no stage ${stage}; see reckon show`,
    );
  const all = readRollouts(join(folder, stage), options);
  const newestFirst = all.toSorted((a, b) => b.step - a.step).slice(0, options.limit);
  const paint = painterFor(process.stdout);
  const texts = newestFirst.map((line) => rolloutText(line, paint));
  const text = [...texts, `${newestFirst.length} of ${all.length} rollouts of ${stage}`].join('\n\n');
  printResult(options, { stage, count: all.length, rollouts: newestFirst }, text);
}

async function lastWithRollouts(folder: string): Promise<string> {
  const { readRun } = await import('../report/index.ts');
  const found = readRun(folder).stages.findLast((stage) =>
    existsSync(join(folder, stage.folder, 'rollouts', 'train.jsonl')),
  );
  if (found) return found.folder;
  throw new ReckonError('run', 'no-rollouts', `${folder}: no stage has rollouts yet`);
}
