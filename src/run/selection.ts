/**
 * Owns what a user asks of a run beyond going on: from a stage, one stage alone, from a checkpoint, longer. Decides what
 * is thrown away, and throws it away so that a killed process leaves no half of it. Runs no stage.
 */

import { existsSync, rmSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { checkpointDamage, checkpointPath, listCheckpoints } from '../checkpoints/folder.ts';
import {
  ancestors,
  kindOf,
  labelOf,
  leavesModel,
  nearest,
  parentIndex,
  type Recipe,
} from '../recipe/index.ts';
import { ReckonError } from '../util/errors.ts';
import { renameDurably } from '../util/files.ts';
import { orphans, type PlacedStage, type StageChange } from './changes.ts';
import { readStageRecord, writeStageRecord } from './stage-record.ts';

/** What was asked for; stages are named by folder, label, type or number. */
export interface StageSelection {
  /** This stage and all later ones run again. */
  readonly from?: string | undefined;
  /** No other stage runs. */
  readonly only?: string | undefined;
  /** A checkpoint of the run, by path or as `stage:step`: its stage goes on from there, later stages run again. */
  readonly resumeFrom?: string | undefined;
  /** A finished stage that the recipe now gives more steps goes on from its last checkpoint. */
  readonly extend?: boolean | undefined;
}

/** A selection worked out against a run. */
export interface Plan {
  /** Index of the only stage that runs; null for all. */
  readonly only: number | null;
  /** Folders that are thrown away. */
  readonly discard: readonly string[];
  /** The stage that is opened again, and the checkpoint after which it is cut off; null keeps all of them. */
  readonly reopen: { readonly name: string; readonly step: number | null } | null;
  /** What to say before it happens. */
  readonly notes: readonly string[];
}

/** Refuses flags that say two things; before a run is opened, because `fresh` empties it. */
export function checkSelection({
  fresh = false,
  ...selection
}: StageSelection & { readonly fresh?: boolean | undefined }): void {
  const { from, resumeFrom, extend = false } = selection;
  const given = [
    ...(fresh ? ['--fresh'] : []),
    ...(from === undefined ? [] : ['--from']),
    ...(resumeFrom === undefined ? [] : ['--resume-from']),
    ...(extend ? ['--extend'] : []),
  ];
  if (given.length < 2) return;
  throw usage(`${given.join(' and ')} say different things about where to begin; give one of them`);
}

/** Works out a selection, or refuses it; a change of the recipe that it does not cover is `recipe-changed`. */
export function planSelection(
  runDirectory: string,
  placed: readonly PlacedStage[],
  changes: readonly StageChange[],
  selection: StageSelection,
): Plan {
  const { from, only, resumeFrom, extend = false } = selection;
  const onlyIndex = only === undefined ? null : findStage(placed, only, '--only').index;
  const first = changes[0];
  const refused = (change: StageChange) => changedError(change, runDirectory, placed);
  if (from !== undefined) {
    const stage = findStage(placed, from, '--from');
    if (first !== undefined && first.index < stage.index) throw refused(first);
    const discard = foldersFrom(runDirectory, placed, stage.index);
    const notes = discard.length === 0 ? [] : [`thrown away because of --from: ${discard.join(', ')}`];
    return { only: onlyIndex, discard, reopen: null, notes };
  }
  if (resumeFrom !== undefined) {
    const { stage, step } = findCheckpoint(runDirectory, placed, resumeFrom);
    if (first !== undefined && first.index < stage.index) throw refused(first);
    const discard = foldersFrom(runDirectory, placed, stage.index + 1);
    const changed = first === undefined ? '' : `, with a changed recipe (${first.what})`;
    const notes = [`${stage.name} goes on from step ${step}${changed}`, ...discarded(discard)];
    return { only: onlyIndex, discard, reopen: { name: stage.name, step }, notes };
  }
  if (first === undefined) return { only: onlyIndex, discard: [], reopen: null, notes: [] };
  if (!extend || !first.longer) throw refused(first);
  const stage = placed[first.index]!;
  const discard = changes.slice(1).map((change) => change.name);
  const notes = [`${stage.name} is extended (${first.what})${scheduleNote(stage)}`, ...discarded(discard)];
  return { only: onlyIndex, discard, reopen: { name: stage.name, step: null }, notes };
}

/** Throws away and reopens what a plan says. Last stages first, each renamed before it is removed. */
export function applyPlan(runDirectory: string, placed: readonly PlacedStage[], plan: Plan): void {
  for (const name of plan.discard.toSorted().reverse()) {
    const aside = join(runDirectory, `.${name}.tmp-${process.pid}`);
    rmSync(aside, { recursive: true, force: true });
    renameDurably(join(runDirectory, name), aside);
    rmSync(aside, { recursive: true, force: true });
    // By its folder: the recipe may no longer have the stage, or have it under another label.
    const label = /^\d+-evaluate-(.+)$/.exec(name)?.[1];
    if (label === undefined) continue;
    for (const ending of ['json', 'rows.jsonl'])
      rmSync(join(runDirectory, 'evaluations', `${label}.${ending}`), { force: true });
  }
  if (plan.reopen === null) return;
  const { name, step } = plan.reopen;
  reopen(join(runDirectory, name), step, placed.find((one) => one.name === name)!.inputHash);
}

/** Refuses to run one stage alone where a model that it reads is not there yet; one that sums up reads all before it. */
export function requireEarlier(
  runDirectory: string,
  recipe: Recipe,
  placed: readonly PlacedStage[],
  { only: index, discard }: { readonly only: number; readonly discard: readonly string[] },
): void {
  const needed = ancestors(recipe, index);
  const summarises = kindOf(placed[index]!.stage.type).summarises === true;
  const missing = placed
    .slice(0, index)
    .filter((one) => (summarises ? leavesModel(one.stage) : needed.has(one.index)))
    .find(
      ({ name }) => discard.includes(name) || readStageRecord(join(runDirectory, name))?.status !== 'done',
    );
  if (missing === undefined) return;
  const why = discard.includes(missing.name) ? 'would be thrown away' : 'is not done';
  const message = `--only ${placed[index]!.name} needs the result of ${missing.name}, which ${why}; run it first, or leave out --only`;
  throw new ReckonError('run', 'stage-not-ready', message);
}

/** The stage that a word names: by folder, label, type or number, in this order. */
function findStage(placed: readonly PlacedStage[], word: string, flag: string): PlacedStage {
  const ways: ((one: PlacedStage) => boolean)[] = [
    ({ name }) => name === word,
    ({ stage }) => stage.type === word,
    ({ stage }) => labelOf(stage) === word,
    ({ index }) => /^\d{1,3}$/.test(word) && Number(word) === index + 1,
  ];
  const found = ways.map((way) => placed.filter(way)).find((list) => list.length > 0);
  if (found?.length === 1) return found[0]!;
  const names = (found ?? placed).map(({ name }) => name);
  if (found !== undefined)
    throw usage(`${flag} ${word} could be ${names.join(', ')}; name one of them by its folder`);
  const near = nearest(word, [
    ...names,
    ...placed.flatMap(({ stage }) => [stage.type, labelOf(stage) ?? '']),
  ]);
  const hint = near === null || near === '' ? `known here: ${names.join(', ')}` : `did you mean ${near}?`;
  throw usage(`${flag} ${word} names no stage of this recipe; ${hint}`);
}

function findCheckpoint(
  runDirectory: string,
  placed: readonly PlacedStage[],
  word: string,
): { stage: PlacedStage; step: number } {
  const short = /^([^/\\]{1,200}):(\d{1,15})$/.exec(word);
  const path =
    short === null
      ? [resolve(word), resolve(runDirectory, word)].find((one) => existsSync(one))
      : checkpointPath(
          join(runDirectory, findStage(placed, short[1]!, '--resume-from').name),
          Number(short[2]),
        );
  if (path === undefined || !existsSync(path)) throw noCheckpoint(runDirectory, placed, word);
  const stage = placed.find(({ name }) => dirname(dirname(path)) === join(runDirectory, name));
  const step = Number(/^step-(\d{6,15})$/.exec(basename(path))?.[1] ?? Number.NaN);
  if (stage === undefined || Number.isNaN(step)) {
    const advice = 'to start from the model of another run, name its folder as model.path';
    throw usage(`--resume-from ${word} is no checkpoint of a stage of this run; ${advice}`);
  }
  requireBest(join(runDirectory, stage.name), step, word);
  const damage = checkpointDamage(path);
  if (damage === null) return { stage, step };
  throw new ReckonError(
    'run',
    'checkpoint-damaged',
    `--resume-from ${word} is damaged: ${damage}; use another`,
  );
}

/** The best model of a stage is kept alone: where it is later than the checkpoint, the best before that is gone. */
function requireBest(directory: string, step: number, word: string): void {
  const best = listCheckpoints(join(directory, 'best')).at(-1);
  if (best === undefined || best.step <= step) return;
  const message = `--resume-from ${word}: the stage keeps its best model, of step ${best.step}, and not the best up to step ${step}; use --from to run the stage again`;
  throw new ReckonError('run', 'best-not-kept', message);
}

function noCheckpoint(runDirectory: string, placed: readonly PlacedStage[], word: string): ReckonError {
  const there = placed.flatMap(({ name, stage }) =>
    kindOf(stage.type).trains
      ? listCheckpoints(join(runDirectory, name)).map(({ step }) => `${name}:${step}`)
      : [],
  );
  const known = there.length === 0 ? 'this run has none yet' : `known here: ${there.join(', ')}`;
  return usage(`--resume-from ${word}: there is no such checkpoint; ${known}`);
}

function foldersFrom(runDirectory: string, placed: readonly PlacedStage[], index: number): string[] {
  const known = placed.slice(index).map(({ name }) => name);
  const gone = orphans(runDirectory, placed).filter((name) => Number.parseInt(name, 10) > index);
  return [...known, ...gone].filter((name) => existsSync(join(runDirectory, name))).sort();
}

/** Cuts a stage back to a checkpoint and marks it as stopped there. */
function reopen(directory: string, step: number | null, inputHash: string): void {
  const record = readStageRecord(directory);
  if (record !== null)
    writeStageRecord(directory, { ...record, status: 'stopped', output: null, inputHash, data: undefined });
  if (step === null) return;
  for (const checkpoint of listCheckpoints(directory).reverse()) {
    if (checkpoint.step <= step) continue;
    const aside = `${dirname(checkpoint.path)}/.${basename(checkpoint.path)}.tmp-${process.pid}`;
    renameDurably(checkpoint.path, aside);
    rmSync(aside, { recursive: true, force: true });
  }
}

/** A schedule that ends with the stage was shorter while the first steps were made. */
function scheduleNote({ stage }: PlacedStage): string {
  const schedule = 'schedule' in stage ? stage.schedule : 'constant';
  if (schedule === 'constant') return '';
  return `; the steps done followed the shorter ${schedule} schedule, so the result is not that of a longer run`;
}

function discarded(names: readonly string[]): string[] {
  return names.length === 0 ? [] : [`run again because of it: ${names.join(', ')}`];
}

function changedError(
  { name, index, what, longer }: StageChange,
  runDirectory: string,
  placed: readonly PlacedStage[],
): ReckonError {
  const again = trainedAfter(runDirectory, placed, index);
  const parent = again.length > 0 ? measuredBy(placed, name) : null;
  const instead =
    parent === null
      ? ''
      : `reckon evaluate ${basename(runDirectory)}:${parent.name} measures its model by other settings and leaves the rest alone, `;
  const training = parent === null ? '' : ` (it trains ${again.join(', ')} again)`;
  const longerAdvice = longer ? '--extend goes on from its last checkpoint, ' : '';
  const advice = `${instead}${longerAdvice}--from ${name} runs it and what follows again${training}, --fresh starts this run again, another --name keeps both`;
  const message = `the recipe has changed since ${name} ran: ${what}; ${advice}`;
  return new ReckonError('run', 'recipe-changed', message);
}

/** The stage whose model an evaluation measured; null for any other stage. */
function measuredBy(placed: readonly PlacedStage[], name: string): PlacedStage | null {
  const stages = placed.map(({ stage }) => stage);
  const index = placed.findIndex((one) => one.name === name && one.stage.type === 'evaluate');
  const parent = index < 0 ? null : parentIndex(stages, index);
  return parent === null ? null : placed[parent]!;
}

/** Stages behind a place that have trained a model, which running everything from there would do again. */
function trainedAfter(runDirectory: string, placed: readonly PlacedStage[], index: number): string[] {
  return placed
    .filter((one) => one.index > index && kindOf(one.stage.type).trains)
    .map(({ name }) => name)
    .filter((name) => readStageRecord(join(runDirectory, name)) !== null);
}

function usage(message: string): ReckonError {
  return new ReckonError('usage', 'stage-selection', message);
}
