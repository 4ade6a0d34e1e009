#!/usr/bin/env node
/** Owns the command line as a whole: global options, the list of commands, exit codes. Knows no command's work. */

import { Command } from 'commander';
import { reckonVersion } from '../util/place.ts';
import { type ExitCode, type GlobalOptions, printError } from './output.ts';

type AddCommand = (program: Command, finish: (code: ExitCode) => void) => void;

/** Every command by name, in the order of the help; a module is loaded when its command is wanted. */
const COMMANDS: Readonly<Record<string, () => Promise<AddCommand>>> = {
  run: async () => (await import('./run.ts')).addRunCommand,
  sweep: async () => (await import('./sweep.ts')).addSweepCommand,
  recipe: async () => (await import('./recipe.ts')).addRecipeCommand,
  data: async () => (await import('./data.ts')).addDataCommand,
  rewards: async () => (await import('./rewards.ts')).addRewardsCommand,
  evaluate: async () => (await import('./evaluate.ts')).addEvaluateCommand,
  export: async () => (await import('./export.ts')).addExportCommand,
  diagnose: async () => (await import('./diagnose.ts')).addDiagnoseCommand,
  compare: async () => (await import('./compare.ts')).addCompareCommand,
  analyze: async () => (await import('./analyze.ts')).addAnalyzeCommand,
  grade: async () => (await import('./grade.ts')).addGradeCommand,
  report: async () => (await import('./report.ts')).addReportCommand,
  runs: async () => (await import('./runs.ts')).addRunsCommand,
  show: async () => (await import('./show.ts')).addShowCommand,
  prune: async () => (await import('./prune.ts')).addPruneCommand,
  track: async () => (await import('./track.ts')).addTrackCommand,
  generate: async () => (await import('./generate.ts')).addGenerateCommand,
  chat: async () => (await import('./chat.ts')).addChatCommand,
  merge: async () => (await import('./merge.ts')).addMergeCommand,
  convert: async () => (await import('./convert.ts')).addConvertCommand,
  push: async () => (await import('./push.ts')).addPushCommand,
  doctor: async () => (await import('./doctor.ts')).addDoctorCommand,
  setup: async () => (await import('./setup.ts')).addSetupCommand,
  init: async () => (await import('./init.ts')).addInitCommand,
  completion: async () => (await import('./completion.ts')).addCompletionCommand,
};

/** Commands whose output is all that they do: without a reader they have nothing left to do. */
const ENDS_WITH_READER: ReadonlySet<string> = new Set(['grade', 'generate', 'chat']);

/** The program with the one command that is asked for; with all of them for help, completion and words that name none. */
async function buildProgram(argv: readonly string[], finish: (code: ExitCode) => void): Promise<Command> {
  const program = new Command('reckon')
    .description('Train small language models to reason about mathematics.')
    .version(reckonVersion(), '--version', 'print the version')
    .option('--json', 'print the result as JSON on stdout')
    .option('--quiet', 'print errors only')
    .option('--debug', 'print the stack of an error')
    .helpOption('--help', 'print this help')
    .addHelpText(
      'after',
      '\nExit codes:\n  0 success; 1 failure; 2 the command line or the recipe is wrong; 130 interrupted, can be resumed\n\nExample:\n  reckon run recipes/quickstart/recipe.yaml',
    )
    .configureHelp({ showGlobalOptions: true })
    .configureOutput({ writeErr: () => undefined, outputError: () => undefined })
    .exitOverride();
  for (const load of neededBy(argv)) (await load())(program, finish);
  return program;
}

function neededBy(argv: readonly string[]): readonly (() => Promise<AddCommand>)[] {
  const asked = askedCommand(argv);
  if (asked === '' && argv.includes('--version')) return [];
  const alone = Object.hasOwn(COMMANDS, asked) && asked !== 'completion' ? COMMANDS[asked] : undefined;
  return alone === undefined ? Object.values(COMMANDS) : [alone];
}

function askedCommand(argv: readonly string[]): string {
  return argv.slice(2).find((word) => !word.startsWith('-')) ?? '';
}

async function main(argv: readonly string[]): Promise<ExitCode> {
  let code: ExitCode = 0;
  const program = await buildProgram(argv, (finished) => {
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

/** Whether this program ends because it came to its end, and not because a module of the user's ended it. */
let ended = false;

// A reader that goes away (`reckon run ... 2>&1 | head`) must not end a run.
for (const stream of [process.stdout, process.stderr])
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') throw error;
    if (stream === process.stderr || !ENDS_WITH_READER.has(askedCommand(process.argv))) return;
    ended = true;
    process.exit(0);
  });
// A module of the user's that awaits what never comes leaves Node nothing to do: it ends, with 13 and without a word. One that
// calls process.exit(0) would look like a success.
process.on('exit', (given) => {
  const code = process.exitCode ?? given;
  const what =
    code === 13
      ? 'waits for something that never comes; look at its awaits'
      : 'has ended the process by process.exit; take that call out';
  if (ended || (code !== 13 && code !== 0)) return;
  process.stderr.write(`error: a TypeScript recipe, reward or task ${what}\n`);
  process.exitCode = 2;
});
// Names the sources in stacks of what is loaded from here on; reading the maps takes a moment, so only where it is asked for.
if (globalOptions(process.argv).debug) process.setSourceMapsEnabled(true);
process.exitCode = await main(process.argv);
ended = true;
