/** Owns what a stage's result depends on in the recipe, its hash, and what changed between two recipes. Reads no file. */

import { ancestors, idleKeys, kindOf, type Recipe } from '../recipe/index.ts';
import { sha256 } from '../util/files.ts';

/** Key paths and their values as JSON; what is not in it does not touch the stage. */
export type StageInputs = Readonly<Record<string, string>>;

/** The keys that the stage at `index` depends on, those of the earlier stages that made its models included. */
export function stageInputs(recipe: Recipe, index: number): StageInputs {
  const upTo = recipe.stages.slice(0, index + 1);
  const own = recipe.stages[index]!;
  const earlier = ancestors(recipe, index);
  const relevant = upTo.map((stage, i) => {
    const made = earlier.has(i) && (kindOf(stage.type).trains || stage.type === 'model');
    const counts = stage === own || kindOf(own.type).summarises === true || made;
    return counts ? stage : null;
  });
  const types = new Set(relevant.flatMap((stage) => (stage ? [stage.type] : [])));
  const samples = [...types].some((type) => kindOf(type).samples);
  const trains = [...types].some((type) => kindOf(type).trains);
  const flat: Record<string, string> = {};
  flatten(recipe.seed, 'seed', flat);
  flatten(recipe.task, 'task', flat);
  flatten(recipe.model, 'model', flat);
  if (trains || samples) flatten(recipe.compute, 'compute', flat);
  if (samples) flatten(recipe.sampling, 'sampling', flat);
  // Which servers, and how patient to be with them, may change from one start to the next.
  const { engine } = recipe;
  if (samples && engine.kind === 'remote')
    flatten({ kind: engine.kind, model: engine.model, logprobs: engine.logprobs }, 'engine', flat);
  const measures = relevant.some((stage) => stage && 'budget' in stage && stage.budget?.measureEvery);
  if (types.has('evaluate') || measures) flatten(recipe.evaluation, 'evaluation', flat);
  for (const [i, stage] of relevant.entries()) flatten(stage, `stages[${i}]`, flat);
  return flat;
}

/** `stageInputs` without keys that nothing reads: runs of earlier versions may have them. */
export function readInputs(recipe: Recipe, index: number): StageInputs {
  const idle = recipe.stages.flatMap((_, i) =>
    idleKeys(recipe, i).map(({ keys }) => `stages[${i}].${keys.join('.')}`),
  );
  const isIdle = (key: string) => idle.some((one) => key === one || key.startsWith(`${one}.`));
  return Object.fromEntries(Object.entries(stageInputs(recipe, index)).filter(([key]) => !isIdle(key)));
}

/** One hash for all inputs, independent of the order of keys. */
export function hashInputs(inputs: StageInputs): string {
  return sha256(JSON.stringify(Object.entries(inputs).sort(([a], [b]) => (a < b ? -1 : 1))));
}

/** What changed, as `key was x and is y`, in the order of the keys. */
export function describeChanges(before: StageInputs, after: StageInputs): string[] {
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return keys
    .filter((key) => before[key] !== after[key])
    .map((key) => `${key} was ${before[key] ?? 'not set'} and is ${after[key] ?? 'not set'}`);
}

function flatten(value: unknown, path: string, into: Record<string, string>): void {
  if (value === null || value === undefined) return;
  if (typeof value !== 'object') {
    into[path] = JSON.stringify(value);
    return;
  }
  const hashed = 'sha256' in value && value.sha256 !== undefined;
  for (const [key, inner] of Object.entries(value)) {
    // A file whose content is known may lie anywhere.
    if (hashed && key === 'file') continue;
    flatten(inner, Array.isArray(value) ? `${path}[${key}]` : `${path}.${key}`, into);
  }
}
