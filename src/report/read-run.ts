/** Owns reading a run directory for a report, from files alone. A missing part is noted, never an error. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parse as parseYaml } from 'yaml';
import { type Evaluation, readEvaluation } from '../evaluate/evaluation.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { numberFromJson, readJsonl } from '../util/jsonl.ts';
import { type EnergyFile, readEnergyFile } from './energy-file.ts';
import { type ModelStage, modelStages } from './lineage.ts';

/** One line of a stage's metrics.jsonl: metrics by name, those without a value left out. */
export interface StepMetrics {
  readonly step: number;
  readonly values: ReadonlyMap<string, number>;
}

/** One stage of a run. */
export interface RunStage {
  /** `02-sft`: its folder and its place in the run. */
  readonly folder: string;
  readonly name: string;
  /** What stage.json says of it, or 'unknown'. */
  readonly status: string;
  readonly metrics: readonly StepMetrics[];
  /** What stage.json calls it, where it does. */
  readonly type?: string | undefined;
  /** The checkpoint that it started from; null for a beginning, left out where nothing says it. */
  readonly parent?: string | null | undefined;
}

/** What the report says of the recipe; a part that cannot be read is left out. */
export interface RunSetting {
  readonly task?: string;
  readonly seed?: number;
  readonly model?: string;
}

/** Everything that a report shows. */
export interface RunData {
  readonly directory: string;
  readonly name: string;
  readonly setting: RunSetting;
  readonly recipeText: string | undefined;
  /** environment.json, nested keys joined with dots. */
  readonly environment: ReadonlyMap<string, string>;
  readonly stages: readonly RunStage[];
  /** What energy.json says; left out where it is not known. */
  readonly energy?: EnergyFile | undefined;
  /** In the order in which their checkpoints were made. */
  readonly evaluations: readonly Evaluation[];
  /** What is missing or could not be read, and what must be known of the problems, a sentence each. */
  readonly notes: readonly string[];
}

/** Reads a run directory. Only a directory that is not there is an error. */
export function readRun(runDirectory: string): RunData {
  const directory = resolve(runDirectory);
  if (!existsSync(directory)) {
    const message = `Expected a run directory, found nothing at ${directory}; give the path of a folder under runs/`;
    throw new ReckonError('run', 'run-not-found', message);
  }
  const notes: string[] = [];
  const attempt = <T>(what: string, read: () => T, otherwise: T): T => {
    try {
      return read();
    } catch (thrown) {
      notes.push(`${what} could not be read: ${messageOf(thrown)}`);
      return otherwise;
    }
  };
  const recipeText = readPart(directory, 'recipe.yaml', notes);
  const environmentText = readPart(directory, 'environment.json', notes);
  const recipe = attempt('recipe.yaml', () => asObject(parseYaml(recipeText ?? '')), {});
  const environment = attempt('environment.json', () => JSON.parse(environmentText ?? '{}') as unknown, {});
  const stages = stageFolders(directory).map((folder) => ({
    folder,
    name: folder.slice(folder.indexOf('-') + 1),
    ...attempt(`${folder}/stage.json`, () => recordOf(join(directory, folder, 'stage.json')), UNKNOWN),
    metrics: attempt(
      `${folder}/metrics.jsonl`,
      () => readSteps(join(directory, folder, 'metrics.jsonl')),
      [],
    ),
  }));
  for (const { folder } of stages) {
    const path = join(directory, folder, 'problems', 'notes.json');
    notes.push(...attempt(`${folder}/problems/notes.json`, () => readNotes(path), []));
  }
  if (stages.length === 0) notes.push('No stage has started.');
  const evaluations = evaluationPaths(directory).flatMap((path) =>
    attempt(`evaluations/${basename(path)}`, () => [readEvaluation(path)], []),
  );
  if (evaluations.length === 0) notes.push('There is no evaluation yet.');
  const name = typeof recipe['name'] === 'string' ? recipe['name'] : basename(directory);
  return {
    directory,
    name,
    setting: settingOf(recipe),
    recipeText,
    environment: flatten(environment),
    energy: attempt('energy.json', () => readEnergyFile(join(directory, 'energy.json')), undefined),
    stages,
    evaluations: evaluations.sort(byCheckpoint),
    notes,
  };
}

/** What the stage that made the problems has to say of them, such as that tested questions are trained on. */
function readNotes(path: string): string[] {
  if (!existsSync(path)) return [];
  const notes = JSON.parse(readFileSync(path, 'utf8')) as unknown;
  if (Array.isArray(notes) && notes.every((note) => typeof note === 'string')) return notes;
  throw new ReckonError('data', 'bad-notes', 'expected a list of sentences');
}

function readPart(directory: string, file: string, notes: string[]): string | undefined {
  const path = join(directory, file);
  if (existsSync(path)) return readFileSync(path, 'utf8');
  notes.push(`${file} is missing.`);
  return undefined;
}

function stageFolders(directory: string): string[] {
  const entries = readdirSync(directory, { withFileTypes: true });
  return entries
    .filter((entry) => entry.isDirectory() && /^[0-9]+-/.test(entry.name))
    .map((entry) => entry.name)
    .sort((a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10));
}

function evaluationPaths(directory: string): string[] {
  const folder = join(directory, 'evaluations');
  if (!existsSync(folder)) return [];
  const names = readdirSync(folder).filter((name) => name.endsWith('.json') && !name.startsWith('.'));
  return names.sort().map((name) => join(folder, name));
}

const UNKNOWN: Pick<RunStage, 'status' | 'type' | 'parent'> = { status: 'unknown' };

function recordOf(path: string): Pick<RunStage, 'status' | 'type' | 'parent'> {
  if (!existsSync(path)) return UNKNOWN;
  const { status, type, parent } = asObject(JSON.parse(readFileSync(path, 'utf8')));
  return {
    status: typeof status === 'string' ? status : 'unknown',
    ...(typeof type === 'string' ? { type } : {}),
    // A further model has its tokenizer from the stage it names, not its weights.
    ...(parent === null || type === 'model' ? { parent: null } : {}),
    ...(typeof parent === 'string' && type !== 'model' ? { parent } : {}),
  };
}

/** The stages of a run that leave models, and what each started from. */
export function runLineage({ stages, evaluations }: Pick<RunData, 'stages' | 'evaluations'>): ModelStage[] {
  const known = stages.map(({ folder, name, type, metrics, parent }) => ({
    folder,
    // `03-grpo-dapo` is the grpo stage with the label dapo.
    name: type !== undefined && name.startsWith(`${type}-`) ? name.slice(type.length + 1) : name,
    steps: metrics.at(-1)?.step ?? 0,
    parent,
  }));
  return modelStages(known, evaluations);
}

function readSteps(path: string): StepMetrics[] {
  return existsSync(path) ? readJsonl(path, toStep) : [];
}

function toStep(value: unknown): StepMetrics {
  const { step, ...metrics } = asObject(value);
  if (typeof step !== 'number')
    throw new ReckonError('data', 'metrics-no-step', 'a line without a number "step"');
  const values = new Map<string, number>();
  for (const [name, metric] of Object.entries(metrics)) {
    const number = numberFromJson(metric);
    if (number !== undefined) values.set(name, number);
  }
  return { step, values };
}

function settingOf(recipe: Readonly<Record<string, unknown>>): RunSetting {
  const task = asObject(recipe['task'])['name'];
  const { init, path } = asObject(recipe['model']);
  const { layers, hiddenSize, heads } = asObject(init);
  const made = init === undefined ? undefined : `new, ${layers} layers, width ${hiddenSize}, ${heads} heads`;
  const model = typeof path === 'string' ? path : made;
  const seed = recipe['seed'];
  return {
    ...(typeof task === 'string' ? { task } : {}),
    ...(typeof seed === 'number' ? { seed } : {}),
    ...(model === undefined ? {} : { model }),
  };
}

function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

function flatten(value: unknown, prefix = ''): Map<string, string> {
  const rows = new Map<string, string>();
  for (const [key, part] of Object.entries(asObject(value))) {
    const name = prefix === '' ? key : `${prefix}.${key}`;
    if (Array.isArray(part)) rows.set(name, part.map(cell).join(', '));
    else if (typeof part === 'object' && part !== null)
      for (const [k, v] of flatten(part, name)) rows.set(k, v);
    else rows.set(name, cell(part));
  }
  return rows;
}

function cell(value: unknown): string {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value);
}

/** Stage folders and step folders are numbered with leading zeros, so that paths sort as they were made. */
function byCheckpoint(a: Evaluation, b: Evaluation): number {
  return a.checkpoint < b.checkpoint ? -1 : a.checkpoint > b.checkpoint ? 1 : a.label < b.label ? -1 : 1;
}
