/** Owns `reckon runs`: a table of the runs of a folder. */

import type { Command } from 'commander';
import { listRuns, type RunSummary } from '../run/index.ts';
import { formatPercent, formatTable } from '../util/format.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';

interface RunsOptions extends GlobalOptions {
  readonly runsDir: string;
}

/** Adds the command; `finish` takes its exit code. */
export function addRunsCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('runs')
    .description('list runs: state, stage, step, best result')
    .option('--runs-dir <folder>', 'folder that holds the runs', 'runs')
    .addHelpText('after', '\nExample:\n  reckon runs --runs-dir runs')
    .action((_options, command: Command) => {
      const options = command.optsWithGlobals<RunsOptions>();
      const runs = listRuns(options.runsDir);
      printResult(options, { runs }, runs.length > 0 ? table(runs) : `no runs in ${options.runsDir}`);
      finish(0);
    });
}

function table(runs: readonly RunSummary[]): string {
  const rows = runs.map(({ name, state, stage, step, best, changedAt }) => [
    name,
    state,
    stage ?? '',
    step === null ? '' : String(step),
    best ? `${formatPercent(best.passAt1)} (${best.label})` : '',
    new Date(changedAt).toISOString().slice(0, 16).replace('T', ' '),
  ]);
  const head = ['run', 'state', 'stage', 'step', 'best pass@1', 'changed (UTC)'];
  return formatTable([head, ...rows], ['left', 'left', 'left', 'right', 'left', 'left']);
}
