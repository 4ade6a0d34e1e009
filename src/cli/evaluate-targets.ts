/** Owns how commands find the models that a user names: runs, checkpoints, folders, hub ids. Loads no weights. */

import { existsSync, readdirSync } from 'node:fs';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { checkpointPath, listCheckpoints } from '../checkpoints/folder.ts';
import type { Recipe } from '../recipe/index.ts';
import { readRunRecipe, readStageRecord } from '../run/index.ts';
import { ReckonError } from '../util/errors.ts';
import { runFolder } from './run-folder.ts';

/** A model that can be evaluated. */
export interface EvaluationTarget {
  /** Names its evaluations: `grpo-step-000100`, or the folder's name. */
  readonly name: string;
  /** Where its weights and tokenizer are. */
  readonly folder: string;
  /** What evaluations call it: relative to its run, else as it was given. */
  readonly checkpoint: string;
  /** The run that made it, or null. */
  readonly runDirectory: string | null;
  readonly recipe: Recipe | null;
}

/** Where to look. */
export interface TargetOptions {
  readonly runsDir: string;
  /** Every checkpoint of a run, in the order in which they were made. */
  readonly allCheckpoints?: boolean | undefined;
}

/**
 * What `name` means: a run of the runs folder or a run's folder (its last model, or all its checkpoints), `run:stage` (that
 * stage's model) or `run:stage:step`, a checkpoint, a model or adapter folder, a hub id. Throws where it is none of them.
 */
export async function findTargets(name: string, options: TargetOptions): Promise<EvaluationTarget[]> {
  const run = runFolder(name, options.runsDir);
  if (existsSync(join(run, 'recipe.yaml')))
    return targetsOfRun(resolve(run), options.allCheckpoints === true);
  const ofStage = existsSync(name) ? null : targetOfStage(name, options.runsDir);
  if (ofStage !== null && options.allCheckpoints !== true) return [ofStage];
  if (options.allCheckpoints === true) {
    const message = `--all-checkpoints needs a run, found ${name}; name a run of ${options.runsDir} or its folder`;
    throw new ReckonError('usage', 'not-a-run', message);
  }
  const { localModel } = await import('../hub/index.ts');
  const folder = await localModel(name);
  const owner = runAbove(folder);
  if (owner !== null) return [targetInRun(owner, readRunRecipe(owner), resolve(folder))];
  return [{ name: safeName(name), folder, checkpoint: name, runDirectory: null, recipe: null }];
}

function targetsOfRun(run: string, all: boolean): EvaluationTarget[] {
  const recipe = readRunRecipe(run);
  const stages = stagesOf(run);
  const folders = all
    ? stages.flatMap((stage) => checkpointsOf(join(run, stage)))
    : stages
        .flatMap((stage) => readStageRecord(join(run, stage))?.output ?? [])
        .map((path) => join(run, path));
  const there = folders.filter((folder) => existsSync(folder));
  if (there.length === 0) {
    throw new ReckonError('run', 'no-checkpoint', `${run} has no model yet; run its recipe first`);
  }
  return (all ? there : there.slice(-1)).map((folder) => targetInRun(run, recipe, folder));
}

/** A stage's checkpoints in order, and its best model where that is none of them. */
function checkpointsOf(stage: string): string[] {
  const kept = listCheckpoints(stage);
  const best = listCheckpoints(join(stage, 'best')).filter(
    ({ step }) => !kept.some((one) => one.step === step),
  );
  return [...kept, ...best].sort((a, b) => a.step - b.step).map(({ path }) => path);
}

function stagesOf(run: string): string[] {
  return readdirSync(run)
    .filter((name) => /^\d{2,3}-/.test(name))
    .sort();
}

/** The model of a stage, or of one of its steps; null where the name is of no run. */
function targetOfStage(name: string, runsDir: string): EvaluationTarget | null {
  const match = /^(.{1,500}?):([^:/\\]{1,200})(?::(\d{1,15}))?$/.exec(name);
  const run = resolve(runFolder(match?.[1] ?? '', runsDir));
  if (match === null || !existsSync(join(run, 'recipe.yaml'))) return null;
  const { stage, output } = stageNamed(run, match[2]!);
  const folder =
    match[3] === undefined ? join(run, output) : checkpointPath(join(run, stage), Number(match[3]));
  if (existsSync(folder)) return targetInRun(run, readRunRecipe(run), folder);
  const there = listCheckpoints(join(run, stage)).map(({ step }) => step);
  const message = `there is no model at ${folder}; steps that ${stage} has: ${there.join(', ') || 'none'}`;
  throw new ReckonError('run', 'no-checkpoint', message);
}

/** The stage with a model that a word names: by folder, the folder without its number, type or label, in this order. */
function stageNamed(run: string, word: string): { readonly stage: string; readonly output: string } {
  const stages = stagesOf(run).flatMap((stage) => {
    const { output = null, type = '' } = readStageRecord(join(run, stage)) ?? {};
    const name = stage.replace(/^\d+-/, '');
    const label = name.startsWith(`${type}-`) ? name.slice(type.length + 1) : name;
    return output === null ? [] : [{ stage, output, names: [stage, name, type, label] }];
  });
  const ways = [0, 1, 2, 3].map((way) => stages.filter(({ names }) => names[way] === word));
  const found = ways.find((list) => list.length > 0) ?? [];
  if (found.length === 1) return found[0]!;
  const known = (found.length > 0 ? found : stages).map(({ stage }) => stage).join(', ') || 'none yet';
  const message = `${run} has ${found.length > 0 ? `${found.length} stages '${word}'` : `no stage '${word}' with a model`}; name one by its folder: ${known}`;
  throw new ReckonError('usage', 'stage-selection', message);
}

function targetInRun(run: string, recipe: Recipe | null, folder: string): EvaluationTarget {
  const checkpoint = relative(run, folder).split(sep).join('/');
  // `04-grpo/checkpoints/step-000100` is known as `04-grpo-step-000100`.
  const name = safeName(checkpoint.replaceAll('/checkpoints/', '-').replaceAll('/', '-'));
  return { name, folder, checkpoint, runDirectory: run, recipe };
}

/** The run that a folder lies in: `<run>/<stage>/checkpoints/<step>`, or one level deeper. */
function runAbove(folder: string): string | null {
  let place = resolve(folder);
  for (let level = 0; level < 5; level++) {
    place = dirname(place);
    if (existsSync(join(place, 'recipe.yaml')) && existsSync(join(place, 'environment.json'))) return place;
  }
  return null;
}

/** A path's or hub id's last part, of letters, digits, '.', '_' and '-' only. */
export function safeName(text: string): string {
  const safe = basename(text)
    .replace(/[^A-Za-z0-9._-]+/g, '-')
    .replace(/^[^A-Za-z0-9]+/, '');
  return safe === '' ? 'model' : safe.slice(0, 100);
}
