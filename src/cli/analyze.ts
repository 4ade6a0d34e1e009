/** Owns `reckon analyze`: what an evaluation's completions get right and wrong, with examples. Samples nothing. */

import type { Command } from 'commander';
import { painterFor } from '../util/format.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { wholeNumber } from './values.ts';

interface AnalyzeOptions extends GlobalOptions {
  readonly runsDir: string;
  readonly examples: number;
}

/** Adds the command; `finish` takes its exit code. */
export function addAnalyzeCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('analyze')
    .description(
      'count answers by format, correctness and class of error, with examples, from the rows of an evaluation',
    )
    .argument('<what>', 'a run, run:label, evaluated checkpoint, evaluation or file of rows')
    .option('--runs-dir <folder>', 'folder that holds the runs', 'runs')
    .option('--examples <n>', 'examples of each cell and class', wholeNumber, 1)
    .addHelpText('after', '\nExample:\n  reckon analyze quickstart:sft --examples 2')
    .action(async (name: string, _options, command: Command) => {
      await analyzeCommand(name, command.optsWithGlobals<AnalyzeOptions>());
      finish(0);
    });
}

async function analyzeCommand(name: string, options: AnalyzeOptions): Promise<void> {
  const { findAnswers, loadRows } = await import('./answer-sources.ts');
  const { analyze } = await import('../evaluate/analysis.ts');
  const { analysisText, game24Table } = await import('../report/index.ts');
  const { formatTable } = await import('../util/format.ts');
  const source = findAnswers(name, options.runsDir).at(-1)!;
  const rows = await loadRows(source);
  const analysis = analyze(rows, options.examples);
  const game24 = game24Table(rows);
  const text = [
    analysisText(source.name, analysis, painterFor(process.stdout)),
    ...(game24 === null ? [] : [`24 game\n${formatTable(game24, ['left', 'left'])}`]),
  ].join('\n\n');
  printResult(options, { name: source.name, ...analysis, game24 }, text);
}
