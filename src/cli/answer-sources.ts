/** Owns how commands find answers by what a user names: a file, a run's evaluation, a run, a checkpoint. */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join, relative, resolve, sep } from 'node:path';
import { type AnswerSet, answersOfEvaluation, readAnswers } from '../evaluate/answer-set.ts';
import { type Evaluation, readEvaluation } from '../evaluate/evaluation.ts';
import { type EvaluationRow, readRows } from '../evaluate/rows.ts';
import { readRun } from '../report/read-run.ts';
import { ReckonError } from '../util/errors.ts';
import { runFolder } from './run-folder.ts';

/** Where one evaluation or file of answers lies. */
export interface AnswerSource {
  readonly name: string;
  /** An evaluation's JSON, or a file of answers in JSON lines. */
  readonly path: string;
}

/**
 * The sources that a name means: `answers.jsonl` or `evaluation.json`; `run:label`; a run (its last evaluation, or every one
 * with `all`); a checkpoint of a run, or a model of none, that was evaluated.
 */
export function findAnswers(name: string, runsDir: string, all = false): AnswerSource[] {
  if (existsSync(name) && statSync(name).isFile())
    return [{ name: basename(name).replace(/(\.rows)?\.jsonl?$/, ''), path: name }];
  const colon = name.lastIndexOf(':');
  const [runName, label] = colon > 1 ? [name.slice(0, colon), name.slice(colon + 1)] : [name, null];
  const folder = runFolder(runName, runsDir);
  if (existsSync(join(folder, 'recipe.yaml'))) return ofRun(folder, label, all);
  const checkpoint = ofCheckpoint(name) ?? ofModel(name);
  if (checkpoint !== null) return [checkpoint];
  if (existsSync(join(name, 'config.json')) || existsSync(join(name, 'adapter_config.json')))
    throw new ReckonError(
      'usage',
      'not-evaluated',
      `${name} is a model that has not been evaluated here; measure it with \`reckon evaluate ${name} --task <task>\`, then compare`,
    );
  throw new ReckonError(
    'usage',
    'no-answers',
    `'${name}' is neither a file of answers, nor an evaluation, nor a run of ${runsDir} (or run:label), nor an evaluated checkpoint`,
  );
}

function ofRun(folder: string, label: string | null, all: boolean): AnswerSource[] {
  const { evaluations, name } = readRun(folder);
  const wanted = label === null ? evaluations : evaluations.filter((one) => one.label === label);
  if (wanted.length === 0) {
    const there = evaluations.map((one) => one.label).join(', ') || 'none yet';
    const what = label === null ? 'has no evaluation' : `has no evaluation '${label}'; it has ${there}`;
    throw new ReckonError('run', 'no-evaluation', `${folder} ${what}; reckon evaluate makes one`);
  }
  return (all ? wanted : wanted.slice(-1)).map((one) => sourceOf(folder, one, `${name}:${one.label}`));
}

function ofCheckpoint(name: string): AnswerSource | null {
  const path = resolve(name);
  const parts = path.split(sep);
  for (let end = parts.length - 1; end > 0; end--) {
    const run = parts.slice(0, end).join(sep);
    if (!existsSync(join(run, 'recipe.yaml'))) continue;
    const checkpoint = relative(run, path).split(sep).join('/');
    const found = readRun(run).evaluations.findLast((one) => one.checkpoint === checkpoint);
    return found === undefined ? null : sourceOf(run, found, checkpoint);
  }
  return null;
}

/** Where `reckon evaluate` puts evaluations of models that belong to no run. */
const LOOSE = 'evaluations';

/** The last evaluation of a model folder, an adapter or a hub id in the folder for those of no run. */
function ofModel(name: string): AnswerSource | null {
  const files = existsSync(LOOSE) ? readdirSync(LOOSE).filter((file) => /^[^.].*\.json$/.test(file)) : [];
  const dated = files
    .map((file) => join(LOOSE, file))
    .flatMap((path) => {
      const found = checkpointOf(path);
      const same = found !== null && (found === name || resolve(found) === resolve(name));
      return same ? [{ path, time: statSync(path).mtimeMs }] : [];
    })
    .sort((a, b) => b.time - a.time);
  return dated[0] === undefined ? null : { name, path: dated[0].path };
}

/** What an evaluation measured; null for a file that is none. */
function checkpointOf(path: string): string | null {
  try {
    return readEvaluation(path).checkpoint;
  } catch {
    return null;
  }
}

function sourceOf(run: string, { label }: Evaluation, name: string): AnswerSource {
  return { name, path: join(run, 'evaluations', `${label}.json`) };
}

/** The answers of a source. */
export function loadAnswers({ name, path }: AnswerSource): AnswerSet {
  return path.endsWith('.json') ? answersOfEvaluation(path, name) : readAnswers(path, name);
}

/** The rows of a source, which must have them: `no-rows` for an evaluation that kept none. */
export async function loadRows({ name, path }: AnswerSource): Promise<EvaluationRow[]> {
  if (!path.endsWith('.json')) return readRows(path);
  const { rows } = readEvaluation(path);
  const file = rows === undefined ? null : join(path, '..', rows);
  if (file !== null && existsSync(file)) return readRows(file);
  const advice = 'measure the model again with reckon evaluate, which keeps every row';
  throw new ReckonError('data', 'no-rows', `the evaluation ${name} has no rows; ${advice}`);
}
