/** Owns `reckon report`: writes the reports of a run directory again and prints the short one. */

import type { Command } from 'commander';
import { painterFor } from '../util/format.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { runFolder } from './run-folder.ts';

interface ReportOptions extends GlobalOptions {
  readonly runsDir: string;
}

/** Adds the command; `finish` takes its exit code. */
export function addReportCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('report')
    .description(
      'write report.html and report.md of a run, finished or not, or the spread of one run with several seeds',
    )
    .argument('<run>', 'name of a run, or its folder')
    .option('--runs-dir <folder>', 'folder that holds the runs', 'runs')
    .addHelpText('after', '\nExample:\n  reckon report quickstart')
    .action(async (run: string, _options, command: Command) => {
      const options = command.optsWithGlobals<ReportOptions>();
      const { seedRuns, terminalReport, writeReport, writeSeedsReport } = await import('../report/index.ts');
      const folder = runFolder(run, options.runsDir);
      if (seedRuns(folder).length > 0) {
        const report = writeSeedsReport(folder);
        printResult(options, report, `${report.markdown}\n\n${report.markdownPath}`);
        return finish(0);
      }
      const { htmlPath, markdownPath, run: data } = writeReport(folder);
      const text = `${terminalReport(data, painterFor(process.stdout))}\n${htmlPath}`;
      printResult(options, { html: htmlPath, markdown: markdownPath, notes: data.notes }, text);
      finish(0);
    });
}
