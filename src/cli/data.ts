/** Owns `reckon data`: its options and what each form is handed to. Reads no data itself. */

import type { Command } from 'commander';
import type { ExitCode, GlobalOptions } from './output.ts';
import { collect, positive, wholeNumber } from './values.ts';

/** The options of `reckon data prepare`. */
export interface PrepareOptions extends GlobalOptions {
  readonly path?: string;
  readonly set?: readonly string[];
  readonly skipBad?: boolean;
  readonly seed?: number;
  readonly tokenizer?: string;
  readonly out?: string;
  readonly show: number;
  readonly searches: number;
}

/** The options of `reckon data show`. */
export interface ShowDataOptions extends GlobalOptions {
  readonly split?: string;
  readonly skipBad?: boolean;
  readonly show: number;
}

/** The name under which the 24 game's chains of thought are prepared. */
export const TRACES = 'game24-traces';

/** Adds the commands; `finish` takes their exit code. */
export function addDataCommand(program: Command, finish: (code: ExitCode) => void): void {
  const data = program.command('data').description('prepare the problems of a task, or look into data files');
  data.addHelpText('after', '\nExample:\n  reckon data prepare arithmetic --show 2');
  data
    .command('prepare')
    .description('read, split and check the problems of a task, and show some; write them with --out')
    .argument('<task>', `a task's name, ${TRACES}, or a recipe`)
    .option('--path <path>', 'file, folder or hub data set to read')
    .option('--set <key=value>', 'a key of the task, such as split=seed2; may be repeated', collect)
    .option('--skip-bad', 'leave malformed rows out and count them')
    .option('--seed <n>', 'fixes what is held out and what is drawn', wholeNumber)
    .option('--tokenizer <folder>', 'model folder whose tokenizer measures lengths and renders chats')
    .option('--out <folder>', 'write problems, demonstrations and summary.json to a folder')
    .option('--show <n>', 'samples to print', wholeNumber, 1)
    .option('--searches <n>', `of ${TRACES}: searches for each puzzle`, positive, 3)
    .addHelpText(
      'after',
      `\nExample:\n  reckon data prepare gsm8k --path data/gsm8k --set prompt=boxed --show 5\n  reckon data prepare ${TRACES} --seed 1 --out data/game24`,
    )
    .action(async (task: string, _options, command: Command) => {
      const options = command.optsWithGlobals<PrepareOptions>();
      if (task === TRACES) await (await import('./data-traces.ts')).prepareTraces(options);
      else await (await import('./data-prepare.ts')).prepareData(task, options);
      finish(0);
    });
  data
    .command('show')
    .description('say which splits, columns and rows a data file or folder has')
    .argument('<path>', 'JSONL, JSON, CSV, TSV or Parquet file (also .gz), or a folder of them')
    .option('--split <expression>', "rows to look at, such as 'train[:5%]'; by default all")
    .option('--skip-bad', 'leave malformed rows out and list them')
    .option('--show <n>', 'rows to print', wholeNumber, 1)
    .addHelpText('after', "\nExample:\n  reckon data show data/gsm8k --split 'test[:10]' --show 2")
    .action(async (path: string, _options, command: Command) => {
      const { showData } = await import('./data-show.ts');
      await showData(path, command.optsWithGlobals<ShowDataOptions>());
      finish(0);
    });
}
