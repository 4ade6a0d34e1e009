/** Owns the order of stages: skips finished ones, calls cut-off ones again, notices a changed recipe. Trains nothing. */

import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, relative, sep } from 'node:path';
import { checkpointDamage } from '../checkpoints/folder.ts';
import { MANIFEST_FILE } from '../checkpoints/manifest.ts';
import { modelStage, parentIndex, type Recipe, type StageOf, type StageType } from '../recipe/index.ts';
import type { ResolvedCompute, StageContext, StageOutcome } from '../train/context.ts';
import { formatDuration } from '../util/format.ts';
import { findChanges, isSummary, orphans, type PlacedStage, placeStages } from './changes.ts';
import type { RunClock } from './clock.ts';
import { dataHashes } from './data-hashes.ts';
import { writeRunRecipe } from './directory.ts';
import type { RunEnergy } from './energy.ts';
import { locateModels } from './hub-models.ts';
import type { RunLog } from './log.ts';
import { applyPlan, planSelection, requireEarlier, type StageSelection } from './selection.ts';
import { readStageRecord, type StageRecord, writeStageRecord } from './stage-record.ts';

/** What a stage of one type gets when it runs. */
export interface RunStageContext<T extends StageType> extends StageContext<Recipe, StageOf<T>> {
  /** The folder of a model by the name of the earlier stage that left it, or by its path. */
  modelFolder(name: string): string;
}

/** One function a stage type; a stage that was cut off is called again and resumes from its own checkpoints. */
export type StageFunctions = {
  readonly [T in StageType]: (context: RunStageContext<T>) => Promise<StageOutcome>;
};

/** What `runStages` needs of a run that is open. */
export interface RunHandle {
  readonly path: string;
  readonly previousRecipe: Recipe | null;
  readonly log: RunLog;
  readonly clock: RunClock;
  readonly energy?: RunEnergy | undefined;
  readonly compute: ResolvedCompute;
  readonly quiet: boolean;
  readonly selection?: StageSelection | undefined;
  stopRequested(): boolean;
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
  const placed = placeStages(recipe);
  const changes = findChanges(run.path, run.previousRecipe, recipe, placed);
  const plan = planSelection(run.path, placed, changes, run.selection ?? {});
  const { only, discard } = plan;
  if (only !== null) requireEarlier(run.path, recipe, placed, { only, discard });
  for (const note of plan.notes) run.log.log(note);
  applyPlan(run.path, placed, plan);
  removeOldReports(run, placed);
  writeRunRecipe(run.path, recipe);
  const located = await locateModels(recipe, run.path, (line) => run.log.log(line));
  const outputs = new Map<number, string>();
  let ranAny = false;
  for (const one of placed) {
    await new Promise(setImmediate);
    let record = readStageRecord(join(run.path, one.name));
    if (plan.only !== null && plan.only !== one.index) {
      if (record?.output) outputs.set(one.index, record.output);
      continue;
    }
    const stale = isSummary(one.stage.type) && (ranAny || record?.inputHash !== one.inputHash);
    if (isFinished(run, one, record) && !stale) {
      run.log.log(`${one.name}: done already, in ${formatDuration(record?.seconds ?? 0)}`);
    } else {
      if (run.stopRequested()) return 'stopped';
      record = await runStage(located, run, functions, one, outputs);
      if (record.status === 'stopped') return 'stopped';
      ranAny = true;
    }
    if (record?.output) outputs.set(one.index, record.output);
  }
  return 'done';
}

async function runStage(
  recipe: Recipe,
  run: RunHandle,
  functions: StageFunctions,
  { index, name, inputHash }: PlacedStage,
  outputs: ReadonlyMap<number, string>,
): Promise<StageRecord> {
  const stage = recipe.stages[index]!;
  const parent = outputOf(outputs, parentIndex(recipe.stages, index));
  const directory = join(run.path, name);
  mkdirSync(directory, { recursive: true });
  const earlier = readStageRecord(directory);
  const startedAt = earlier?.startedAt ?? new Date().toISOString();
  const data = dataHashes(recipe, index);
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
      ...(Object.keys(data).length === 0 ? {} : { data }),
    } as const;
    writeStageRecord(directory, record);
    return record;
  };
  const context: RunStageContext<StageType> = {
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
    modelFolder: (model) => {
      const made = outputOf(outputs, modelStage(recipe.stages, model, index));
      return made === null ? model : join(run.path, made);
    },
  };
  run.log.log(`${name}: ${earlier === null ? 'started' : 'resumed'}`);
  run.clock.enterStage(name);
  run.energy?.enterStage(name);
  write('running');
  try {
    const work = functions[stage.type] as (context: RunStageContext<StageType>) => Promise<StageOutcome>;
    const record = write(await work(context));
    run.log.log(`${name}: ${record.status} in ${formatDuration(record.seconds)}`);
    return record;
  } finally {
    run.clock.enterStage(null);
    run.energy?.enterStage(null);
  }
}

function outputOf(outputs: ReadonlyMap<number, string>, index: number | null): string | null {
  return index === null ? null : (outputs.get(index) ?? null);
}

/** A result that is gone or damaged makes its stage run again: from its own checkpoints, to the same result. */
function isFinished(run: RunHandle, { name, stage }: PlacedStage, record: StageRecord | null): boolean {
  if (record?.status !== 'done') return false;
  const result = stage.type === 'evaluate' ? `evaluations/${stage.label}.json` : record.output;
  if (result === null) return true;
  const damage = outputDamage(join(run.path, result));
  if (damage !== null) run.log.log(`${name}: its result ${result} is lost (${damage}); running it again`);
  return damage === null;
}

function outputDamage(path: string): string | null {
  if (!existsSync(path)) return 'it is not there';
  return existsSync(join(path, MANIFEST_FILE)) ? checkpointDamage(path) : null;
}

/** Reports move to a later folder when stages are added; a report is made again, so its old folder may go. */
function removeOldReports(run: RunHandle, placed: readonly PlacedStage[]): void {
  for (const name of orphans(run.path, placed)) {
    const directory = join(run.path, name);
    if (isSummary(readStageRecord(directory)?.type)) rmSync(directory, { recursive: true, force: true });
  }
}
