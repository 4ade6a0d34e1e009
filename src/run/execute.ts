/** Owns one start of a run from lock to result: opens, settles the environment, runs the stages. Prints no error. */

import { join } from 'node:path';
import type { Recipe } from '../recipe/index.ts';
import type { ProgressStream } from '../track/progress.ts';
import type { ResolvedCompute, StageOutcome } from '../train/context.ts';
import { messageOf } from '../util/errors.ts';
import { formatDuration } from '../util/format.ts';
import { RunClock } from './clock.ts';
import { openRun, type RunDirectory } from './directory.ts';
import { metersFor, RunEnergy } from './energy.ts';
import { describeEnvironment, settleEnvironment } from './environment.ts';
import { openRunLog, type RunLog } from './log.ts';
import { checkSelection, type StageSelection } from './selection.ts';
import { type SignalWatch, watchSignals } from './signals.ts';
import { runStages, type StageFunctions } from './stages.ts';
import { trackRun } from './tracking.ts';

/** What knows how to run stages; loaded only once the recipe and the lock are good, because it loads libtorch. */
export interface StageModule {
  readonly stageFunctions: StageFunctions;
  /** Device, dtype, threads and kernels for a recipe on this machine, `auto` decided. */
  resolveCompute(recipe: Recipe): Promise<ResolvedCompute>;
}

/** How a run is started. */
export interface ExecuteOptions {
  readonly runsDirectory: string;
  readonly fresh?: boolean | undefined;
  readonly allowInexact?: boolean | undefined;
  readonly quiet?: boolean | undefined;
  readonly selection?: StageSelection | undefined;
  readonly stream: ProgressStream;
  /** From when its seconds count, on the clock of `performance.now()`; by default from when the command began. */
  readonly since?: number | undefined;
  /** Where the processor's energy counters are; by default Linux's own place. */
  readonly powercap?: string | undefined;
  readonly load: () => Promise<StageModule>;
}

/** How a run ended; `seconds` counts earlier attempts too. */
export interface RunResult {
  readonly status: StageOutcome;
  readonly directory: string;
  readonly seconds: number;
}

/**
 * Runs or resumes `<runsDirectory>/<recipe.name>` until it is done or a signal stops it. Holds the lock throughout
 * and lets it go whatever happens; what goes wrong is thrown after a line in run.log.
 */
export async function executeRun(recipe: Recipe, options: ExecuteOptions): Promise<RunResult> {
  const { runsDirectory, fresh, quiet = false, stream } = options;
  checkSelection({ ...options.selection, fresh });
  const run = openRun({ runsDirectory, name: recipe.name, fresh });
  const log = openRunLog(join(run.path, 'run.log'), { stream, quiet });
  const clock = new RunClock(run.path, options.since);
  const signals = watchSignals((signal) =>
    log.log(`${signal}: stopping at the end of this step; once more to leave at once`),
  );
  try {
    announce(recipe, run, log);
    const status = await runOpened(recipe, run, { log, clock, signals, quiet }, options);
    const seconds = clock.seconds();
    log.log(closingLine(status, run.path, seconds));
    return { status, directory: run.path, seconds };
  } catch (error) {
    keepFailure(log, error);
    throw error;
  } finally {
    signals.dispose();
    clock.close();
    log.close();
    run.lock.release();
  }
}

interface Attendants {
  readonly log: RunLog;
  readonly clock: RunClock;
  readonly signals: SignalWatch;
  readonly quiet: boolean;
}

async function runOpened(
  recipe: Recipe,
  run: RunDirectory,
  { log, clock, signals, quiet }: Attendants,
  { load, allowInexact, selection, powercap }: ExecuteOptions,
): Promise<StageOutcome> {
  const { stageFunctions, resolveCompute } = await load();
  const current = describeEnvironment(await resolveCompute(recipe), recipe.seed);
  const compute = settleEnvironment(run.path, current, { allowInexact, log: (line) => log.log(line) });
  log.log(`computing on ${compute.device} in ${compute.dtype} with ${describeThreads(compute.threads)}`);
  const { path, previousRecipe } = run;
  const { stopRequested } = signals;
  const energy = new RunEnergy(path, metersFor(compute.device, powercap), previousRecipe !== null);
  const tracking = trackRun(path, recipe, (sentence) => log.log(sentence));
  try {
    return await runStages(
      recipe,
      { path, previousRecipe, log, clock, energy, compute, quiet, selection, stopRequested },
      stageFunctions,
    );
  } finally {
    energy.close();
    await tracking?.close();
  }
}

/** A full disk must not put its own error in the place of what went wrong. */
function keepFailure(log: RunLog, error: unknown): void {
  try {
    log.keep(`failed: ${messageOf(error)}`);
  } catch {
    // The error itself is printed by whoever started the run.
  }
}

function announce(recipe: Recipe, run: RunDirectory, log: RunLog): void {
  const how = run.previousRecipe === null ? 'starts' : 'goes on';
  log.log(`run ${recipe.name} ${how} in ${run.path} (seed ${recipe.seed})`);
  const { takenFrom } = run.lock;
  if (takenFrom !== null) log.log(`process ${takenFrom.pid} held this run and has died; taking over`);
}

function closingLine(status: StageOutcome, path: string, seconds: number): string {
  if (status === 'done') return `done in ${formatDuration(seconds)}: ${path}`;
  return `stopped after ${formatDuration(seconds)}; the same command goes on from here`;
}

function describeThreads(threads: number): string {
  return threads === 1 ? '1 thread' : `${threads} threads`;
}
