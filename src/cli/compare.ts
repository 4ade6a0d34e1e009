/** Owns `reckon compare`: answers of several models to the same problems. Samples nothing. */

import type { Command } from 'commander';
import { ReckonError } from '../util/errors.ts';
import { painterFor } from '../util/format.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { wholeNumber } from './values.ts';

interface CompareOptions extends GlobalOptions {
  readonly runsDir: string;
  readonly show: number;
  readonly seed: number;
}

/** Adds the command; `finish` takes its exit code. */
export function addCompareCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('compare')
    .description(
      'compare answers to the same problems: paired differences, exact tests, problems won and lost',
    )
    .argument(
      '<what...>',
      'runs, run:label, evaluated checkpoints and models, evaluations or files of answers; one run: all its evaluations',
    )
    .option('--runs-dir <folder>', 'folder that holds the runs', 'runs')
    .option('--show <n>', 'transcripts of problems won, and as many lost, for each pair', wholeNumber, 1)
    .option('--seed <n>', 'seed of the bootstrap', wholeNumber, 0)
    .addHelpText(
      'after',
      '\nExample:\n  reckon compare quickstart:sft quickstart:grpo\n  reckon compare teacher.jsonl student.jsonl --show 3',
    )
    .action(async (names: string[], _options, command: Command) => {
      await compare(names, command.optsWithGlobals<CompareOptions>());
      finish(0);
    });
}

async function compare(names: readonly string[], options: CompareOptions): Promise<void> {
  const { findAnswers, loadAnswers } = await import('./answer-sources.ts');
  const { compareSets } = await import('../evaluate/compare.ts');
  const { comparisonText } = await import('../report/index.ts');
  const sources = names.flatMap((name) => findAnswers(name, options.runsDir, names.length === 1));
  if (sources.length < 2) {
    const message = `there is only one set of answers, ${sources[0]?.name}; name another to compare it with`;
    throw new ReckonError('usage', 'too-few-sets', message);
  }
  const comparison = compareSets(sources.map(loadAnswers), options.seed);
  printResult(options, comparison, comparisonText(comparison, options.show, painterFor(process.stdout)));
}
