/** Owns `reckon diagnose`: what is wrong with a run, in sentences. Reads metrics only. */

import type { Command } from 'commander';
import { formatTable, painterFor, wrapText } from '../util/format.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { existingRun } from './run-folder.ts';

interface DiagnoseOptions extends GlobalOptions {
  readonly runsDir: string;
}

/** Adds the command; `finish` takes its exit code. */
export function addDiagnoseCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('diagnose')
    .description('say what is wrong with a run, finished or not, and what to try')
    .argument('<run>', 'name of a run, or its folder')
    .option('--runs-dir <folder>', 'folder that holds the runs', 'runs')
    .addHelpText('after', '\nExample:\n  reckon diagnose quickstart')
    .action(async (run: string, _options, command: Command) => {
      await diagnoseRun(run, command.optsWithGlobals<DiagnoseOptions>());
      finish(0);
    });
}

async function diagnoseRun(name: string, options: DiagnoseOptions): Promise<void> {
  const { diagnose, nothingFound, readRun, TRAINING_FACTS_CAPTION, trainingFacts, trainingFactsTable } =
    await import('../report/index.ts');
  const { stages } = readRun(existingRun(name, options.runsDir));
  const findings = diagnose(stages);
  const facts = trainingFacts(stages);
  const paint = painterFor(process.stdout);
  const found = findings.map(({ rule, stage, saw, advice }) =>
    [
      `${paint('yellow', rule)} in ${paint('bold', stage)}`,
      wrapText(`  ${saw}.`),
      wrapText(`  Try: ${advice}.`),
    ].join('\n'),
  );
  const text = [
    ...(found.length > 0 ? found : [wrapText(nothingFound(stages))]),
    ...(facts.length > 0
      ? [formatTable(trainingFactsTable(stages), ['left']), paint('dim', wrapText(TRAINING_FACTS_CAPTION))]
      : []),
  ].join('\n\n');
  printResult(options, { findings, facts }, text);
}
