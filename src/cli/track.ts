/** Owns `reckon track`: a run's metrics written to TensorBoard or Weights & Biases after the fact. */

import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { exportRun, readRunRecipe } from '../run/index.ts';
import { ReckonError } from '../util/errors.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { existingRun } from './run-folder.ts';

interface ExportOptions extends GlobalOptions {
  readonly runsDir: string;
  readonly to: 'tensorboard' | 'wandb';
  readonly out?: string;
  readonly project: string;
  readonly entity?: string;
  readonly offline?: boolean;
}

/** Adds the command; `finish` takes its exit code. */
export function addTrackCommand(program: Command, finish: (code: ExitCode) => void): void {
  const track = program.command('track').description('metrics of runs in TensorBoard and Weights & Biases');
  track.addHelpText('after', '\nExample:\n  reckon track export quickstart --to tensorboard');
  track
    .command('export')
    .description('write the metrics of a run, finished or not, to a tracker')
    .argument('<run>', 'name of a run, or its folder')
    .addOption(
      new Option('--to <tracker>', 'where to').choices(['tensorboard', 'wandb']).makeOptionMandatory(),
    )
    .option('--out <folder>', 'folder for TensorBoard event files; by default <run>/tensorboard')
    .option('--project <name>', 'project on Weights & Biases', 'reckon')
    .option('--entity <name>', 'account or team on Weights & Biases')
    .option('--offline', 'Weights & Biases without a network: files in <run>/wandb, for `wandb sync`')
    .option('--runs-dir <folder>', 'folder that holds the runs', 'runs')
    .addHelpText('after', '\nExample:\n  reckon track export quickstart --to tensorboard --out logs')
    .action(async (run: string, _options, command: Command) => {
      await exportTo(run, command.optsWithGlobals<ExportOptions>());
      finish(0);
    });
}

async function exportTo(name: string, options: ExportOptions): Promise<void> {
  const directory = resolve(existingRun(name, options.runsDir));
  const recipe = readRunRecipe(directory)!;
  const { to, project, entity, offline = false } = options;
  const problems: string[] = [];
  const folder = options.out ?? join(directory, 'tensorboard');
  const wandb = { project, entity, mode: offline ? 'offline' : 'online' } as const;
  await exportRun(directory, recipe, {
    tracking: to === 'tensorboard' ? { tensorboard: true } : { tensorboard: false, wandb },
    folder,
    failed: (sentence) => problems.push(sentence),
    told: (sentence) => (options.quiet === true ? undefined : process.stderr.write(`${sentence}\n`)),
  });
  if (problems.length > 0) throw new ReckonError('environment', 'track-export', problems[0]!);
  const where = to === 'tensorboard' ? folder : `project ${project}`;
  const hint = to === 'tensorboard' ? `; look with: tensorboard --logdir ${folder}` : '';
  printResult(options, { run: directory, to, where }, `${recipe.name} written to ${where}${hint}`);
}
