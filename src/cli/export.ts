/** Owns `reckon export`: what a run holds, written for other programs. Samples nothing. */

import type { Command } from 'commander';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';

interface ExportOptions extends GlobalOptions {
  readonly runsDir: string;
  readonly out: string;
}

/** Adds the command; `finish` takes its exit code. */
export function addExportCommand(program: Command, finish: (code: ExitCode) => void): void {
  const group = program
    .command('export')
    .description('export results of a run for other programs')
    .addHelpText('after', '\nExample:\n  reckon export answers quickstart:grpo --out answers.jsonl');
  group
    .command('answers')
    .description('answers of an evaluation as JSON lines, one per sample')
    .argument('<what>', 'a run, run:label, evaluated checkpoint or evaluation')
    .option('--runs-dir <folder>', 'folder that holds the runs', 'runs')
    .requiredOption('--out <file>', 'file to write')
    .addHelpText('after', '\nExample:\n  reckon export answers quickstart:grpo --out answers.jsonl')
    .action(async (name: string, _options, command: Command) => {
      await exportAnswers(name, command.optsWithGlobals<ExportOptions>());
      finish(0);
    });
}

async function exportAnswers(name: string, options: ExportOptions): Promise<void> {
  const { findAnswers, loadRows } = await import('./answer-sources.ts');
  const { writeFileAtomic } = await import('../util/files.ts');
  const source = findAnswers(name, options.runsDir).at(-1)!;
  const rows = await loadRows(source);
  writeFileAtomic(options.out, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const result = { from: source.name, out: options.out, answers: rows.length };
  printResult(options, result, `${rows.length} answers of ${source.name}: ${options.out}`);
}
