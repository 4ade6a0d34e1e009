/** Owns the order of stages: skips finished ones, calls cut-off ones again, notices a changed recipe. Trains nothing. */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import * as z from 'zod';
import { checkpointDamage } from '../checkpoints/folder.ts';
import { MANIFEST_FILE } from '../checkpoints/manifest.ts';
import {
  type Recipe,
  type Stage,
  type StageOf,
  type StageType,
  stageDirectoryName,
} from '../recipe/index.ts';
import type { ResolvedCompute, StageContext, StageOutcome } from '../train/context.ts';
import { ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { formatDuration } from '../util/format.ts';
import type { RunClock } from './clock.ts';
import { isStageFolder, writeRunRecipe } from './directory.ts';
import type { RunLog } from './log.ts';
import { describeChanges, hashInputs, stageInputs } from './stage-inputs.ts';

/** What a stage of one type gets when it runs. */
export type RunStageContext<T extends StageType> = StageContext<Recipe, StageOf<T>>;

/** One function a stage type; a stage that was cut off is called again and resumes from its own checkpoints. */
export type StageFunctions = {
  readonly [T in StageType]: (context: RunStageContext<T>) => Promise<StageOutcome>;
};

/** stage.json, version 1; `parent` and `output` are paths relative to the run directory. */
export interface StageRecord {
  readonly version: 1;
  readonly type: string;
  readonly status: 'running' | 'done' | 'stopped';
  readonly inputHash: string;
  readonly parent: string | null;
  readonly output: string | null;
  readonly startedAt: string;
  /** Over all attempts. */
  readonly seconds: number;
}

/** What `runStages` needs of a run that is open. */
export interface RunHandle {
  readonly path: string;
  readonly previousRecipe: Recipe | null;
  readonly log: RunLog;
  readonly clock: RunClock;
  readonly compute: ResolvedCompute;
  readonly quiet: boolean;
  stopRequested(): boolean;
}

/** stage.json as it is read back. */
export const stageRecordSchema: z.ZodType<StageRecord> = z.object({
  version: z.literal(1),
  type: z.string(),
  status: z.enum(['running', 'done', 'stopped']),
  inputHash: z.string(),
  parent: z.string().nullable(),
  output: z.string().nullable(),
  startedAt: z.string(),
  seconds: z.number().nonnegative(),
});

interface PlacedStage {
  readonly stage: Stage;
  readonly index: number;
  readonly name: string;
  readonly inputHash: string;
}

/**
 * Runs the stages in order and says how it ended. A recipe that no longer fits what a stage was run with is refused
 * with `recipe-changed`, before anything is written; what a stage throws leaves it to be resumed.
 */
export async function runStages(
  recipe: Recipe,
  run: RunHandle,
  functions: StageFunctions,
): Promise<StageOutcome> {
  const placed = recipe.stages.map((stage, index): PlacedStage => {
    const inputHash = hashInputs(stageInputs(recipe, index));
    return { stage, index, name: stageDirectoryName(stage, index), inputHash };
  });
  refuseChanges(recipe, run, placed);
  removeOldReports(run, placed);
  writeRunRecipe(run.path, recipe);
  let parent: string | null = null;
  let ranAny = false;
  for (const one of placed) {
    await new Promise(setImmediate);
    let record = readStageRecord(join(run.path, one.name));
    if (isFinished(run, one.name, record) && !(one.stage.type === 'report' && ranAny)) {
      run.log.log(`${one.name}: done already, in ${formatDuration(record?.seconds ?? 0)}`);
    } else {
      if (run.stopRequested()) return 'stopped';
      record = await runStage(recipe, run, functions, one, parent);
      if (record.status === 'stopped') return 'stopped';
      ranAny = true;
    }
    parent = record?.output ?? parent;
  }
  return 'done';
}

/** The record of a stage folder, or null where it has none; a damaged one is an error. */
export function readStageRecord(directory: string): StageRecord | null {
  const path = join(directory, 'stage.json');
  if (!existsSync(path)) return null;
  try {
    return stageRecordSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    const message = `${path} cannot be read; start again with --fresh or another --name`;
    throw new ReckonError('run', 'stage-unreadable', message, { cause: error });
  }
}

async function runStage(
  recipe: Recipe,
  run: RunHandle,
  functions: StageFunctions,
  { stage, index, name, inputHash }: PlacedStage,
  parent: string | null,
): Promise<StageRecord> {
  const directory = join(run.path, name);
  mkdirSync(directory, { recursive: true });
  const earlier = readStageRecord(directory);
  const startedAt = earlier?.startedAt ?? new Date().toISOString();
  let output: string | null = null;
  const write = (status: StageRecord['status']): StageRecord => {
    const seconds = run.clock.stageSeconds(name);
    const record = {
      version: 1,
      type: stage.type,
      status,
      inputHash,
      parent,
      output,
      startedAt,
      seconds,
    } as const;
    writeFileAtomic(join(directory, 'stage.json'), `${JSON.stringify(record, null, 2)}\n`);
    return record;
  };
  const context: StageContext<Recipe, Stage> = {
    index,
    name,
    directory,
    runDirectory: run.path,
    recipe,
    stage,
    seed: recipe.seed,
    compute: run.compute,
    parent: parent === null ? null : join(run.path, parent),
    quiet: run.quiet,
    log: (line) => run.log.log(line),
    stream: run.log.stream,
    stopRequested: () => run.stopRequested(),
    setOutput: (path) => {
      output = relative(run.path, path).split(sep).join('/');
    },
    elapsedSeconds: () => run.clock.seconds(),
  };
  run.log.log(`${name}: ${earlier === null ? 'started' : 'resumed'}`);
  run.clock.enterStage(name);
  write('running');
  try {
    const work = functions[stage.type] as (context: StageContext<Recipe, Stage>) => Promise<StageOutcome>;
    const record = write(await work(context));
    run.log.log(`${name}: ${record.status} in ${formatDuration(record.seconds)}`);
    return record;
  } finally {
    run.clock.enterStage(null);
  }
}

/** A result that is gone or damaged makes its stage run again: from its own checkpoints, to the same result. */
function isFinished(run: RunHandle, name: string, record: StageRecord | null): boolean {
  if (record?.status !== 'done') return false;
  if (record.output === null) return true;
  const damage = outputDamage(join(run.path, record.output));
  if (damage !== null)
    run.log.log(`${name}: its result ${record.output} is lost (${damage}); running it again`);
  return damage === null;
}

function outputDamage(path: string): string | null {
  if (!existsSync(path)) return 'the folder is missing';
  return existsSync(join(path, MANIFEST_FILE)) ? checkpointDamage(path) : null;
}

function refuseChanges(recipe: Recipe, run: RunHandle, placed: readonly PlacedStage[]): void {
  for (const { name, index, inputHash, stage } of placed) {
    const record = readStageRecord(join(run.path, name));
    if (record === null || record.inputHash === inputHash || stage.type === 'report') continue;
    throw changedError(name, changesSince(run.previousRecipe, recipe, index));
  }
  for (const name of orphans(run.path, placed)) {
    if ([undefined, 'report'].includes(readStageRecord(join(run.path, name))?.type)) continue;
    throw changedError(name, 'that stage is not in the recipe any more');
  }
}

function changesSince(previous: Recipe | null, recipe: Recipe, index: number): string {
  if (previous === null || index >= previous.stages.length) return 'its inputs differ';
  const changes = describeChanges(stageInputs(previous, index), stageInputs(recipe, index));
  const more = changes.length > 3 ? ` and ${changes.length - 3} more` : '';
  return changes.length === 0 ? 'another version of reckon ran it' : changes.slice(0, 3).join(', ') + more;
}

function changedError(name: string, what: string): ReckonError {
  const advice = 'use --fresh to start this run again, or another --name to keep both';
  return new ReckonError(
    'run',
    'recipe-changed',
    `the recipe has changed since ${name} ran: ${what}; ${advice}`,
  );
}

/** Reports move to a later folder when stages are added; a report is made again, so its old folder may go. */
function removeOldReports(run: RunHandle, placed: readonly PlacedStage[]): void {
  for (const name of orphans(run.path, placed)) {
    const directory = join(run.path, name);
    if (readStageRecord(directory)?.type === 'report') rmSync(directory, { recursive: true, force: true });
  }
}

function orphans(runDirectory: string, placed: readonly PlacedStage[]): string[] {
  const names = new Set(placed.map((one) => one.name));
  return readdirSync(runDirectory).filter((name) => isStageFolder(name) && !names.has(name));
}
