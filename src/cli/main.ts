#!/usr/bin/env node
/** Owns the command line as a whole: global options, the list of commands, exit codes. Knows no command's work. */

import { Command } from 'commander';
import { reckonVersion } from '../run/machine.ts';
import { addAnalyzeCommand } from './analyze.ts';
import { addChatCommand } from './chat.ts';
import { addCompareCommand } from './compare.ts';
import { addCompletionCommand } from './completion.ts';
import { addConvertCommand } from './convert.ts';
import { addDataCommand } from './data.ts';
import { addDiagnoseCommand } from './diagnose.ts';
import { addDoctorCommand } from './doctor.ts';
import { addEvaluateCommand } from './evaluate.ts';
import { addExportCommand } from './export.ts';
import { addGenerateCommand } from './generate.ts';
import { addGradeCommand } from './grade.ts';
import { addInitCommand } from './init.ts';
import { addMergeCommand } from './merge.ts';
import { type ExitCode, type GlobalOptions, printError } from './output.ts';
import { addPruneCommand } from './prune.ts';
import { addPushCommand } from './push.ts';
import { addRecipeCommand } from './recipe.ts';
import { addReportCommand } from './report.ts';
import { addRewardsCommand } from './rewards.ts';
import { addRunCommand } from './run.ts';
import { addRunsCommand } from './runs.ts';
import { addShowCommand } from './show.ts';
import { addSweepCommand } from './sweep.ts';
import { addTrackCommand } from './track.ts';

function buildProgram(finish: (code: ExitCode) => void): Command {
  const program = new Command('reckon')
    .description('Teach small language models to reason about mathematics.')
    .version(reckonVersion(), '--version', 'print the version')
    .option('--json', 'print the result as JSON on stdout')
    .option('--quiet', 'print errors only')
    .option('--debug', 'print the stack of an error')
    .helpOption('--help', 'print this help')
    .addHelpText('after', '\nExample:\n  reckon run recipes/quickstart/recipe.yaml')
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeErr: () => undefined, outputError: () => undefined })
    .exitOverride();
  addRunCommand(program, finish);
  addSweepCommand(program, finish);
  addRecipeCommand(program, finish);
  addDataCommand(program, finish);
  addRewardsCommand(program, finish);
  addEvaluateCommand(program, finish);
  addExportCommand(program, finish);
  addDiagnoseCommand(program, finish);
  addCompareCommand(program, finish);
  addAnalyzeCommand(program, finish);
  addGradeCommand(program, finish);
  addReportCommand(program, finish);
  addRunsCommand(program, finish);
  addShowCommand(program, finish);
  addPruneCommand(program, finish);
  addTrackCommand(program, finish);
  addGenerateCommand(program, finish);
  addChatCommand(program, finish);
  addMergeCommand(program, finish);
  addConvertCommand(program, finish);
  addPushCommand(program, finish);
  addDoctorCommand(program, finish);
  addInitCommand(program, finish);
  addCompletionCommand(program, finish);
  return program;
}

async function main(argv: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = 0;
  const program = buildProgram((finished) => {
    code = finished;
  });
  if (argv.length <= 2) {
    process.stderr.write(program.helpInformation());
    return 2;
  }
  try {
    await program.parseAsync(argv);
    return code;
  } catch (error) {
    return printError(error, globalOptions(argv));
  }
}

/** Read from the words themselves: a command line that does not parse has no options yet. */
function globalOptions(argv: readonly string[]): GlobalOptions {
  return { json: argv.includes('--json'), quiet: argv.includes('--quiet'), debug: argv.includes('--debug') };
}

// A reader that goes away (`reckon run ... | head`) must not end a run.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
});
process.exitCode = await main(process.argv);
