/** Owns `reckon prune`: lists the checkpoints of a run, asks, and removes the old ones. */

import type { Command } from 'commander';
import { type PrunableCheckpoint, planPruning, pruneRun } from '../run/index.ts';
import { formatBytes, formatTable } from '../util/format.ts';
import { confirmed } from './confirm.ts';
import { type ExitCode, type GlobalOptions, printResult } from './output.ts';
import { existingRun } from './run-folder.ts';
import { positive, wholeNumber } from './values.ts';

interface PruneOptions extends GlobalOptions {
  readonly runsDir: string;
  readonly keepLast: number;
  readonly keepBest: number;
  readonly yes?: boolean;
}

/** Adds the command; `finish` takes its exit code. */
export function addPruneCommand(program: Command, finish: (code: ExitCode) => void): void {
  program
    .command('prune')
    .description('remove old checkpoints of a run; the newest complete one of each stage is always kept')
    .argument('<run>', 'name of a run, or its folder')
    .option('--runs-dir <folder>', 'folder that holds the runs', 'runs')
    .option('--keep-last <n>', 'newest checkpoints to keep of each stage', positive, 1)
    .option('--keep-best <n>', 'best checkpoints to keep of each stage', wholeNumber, 0)
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  reckon prune quickstart --keep-last 1')
    .action(async (run: string, _options, command: Command) => {
      finish(await prune(run, command.optsWithGlobals<PruneOptions>()));
    });
}

async function prune(run: string, options: PruneOptions): Promise<ExitCode> {
  const folder = existingRun(run, options.runsDir);
  const keep = { last: options.keepLast, best: options.keepBest };
  const plan = planPruning(folder, keep);
  const going = plan.filter((checkpoint) => checkpoint.goes);
  const bytes = going.reduce((sum, checkpoint) => sum + checkpoint.bytes, 0);
  if (options.json !== true) printResult(options, {}, plan.length > 0 ? table(plan) : 'no checkpoints');
  const question = `remove ${going.length} of ${plan.length} checkpoints (${formatBytes(bytes)})?`;
  const removed = going.length > 0 && (options.yes === true || (await confirmed(question)));
  if (removed) pruneRun(folder, keep);
  const outcome = removed ? `removed ${going.length}, ${formatBytes(bytes)} free again` : 'nothing removed';
  printResult(options, { checkpoints: plan, removed: removed ? going.length : 0, bytes }, outcome);
  return 0;
}

function table(plan: readonly PrunableCheckpoint[]): string {
  const rows = plan.map(({ stage, step, bytes, goes }) => [
    stage,
    String(step),
    formatBytes(bytes),
    goes ? 'goes' : 'stays',
  ]);
  return formatTable([['stage', 'step', 'size', ''], ...rows], ['left', 'right', 'right', 'left']);
}
