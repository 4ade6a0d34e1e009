/** Owns recipes that are written in TypeScript: their type, and what a module that holds one must export. Validates no value. */

import { basename } from 'node:path';
import type { GroupRewardFunction, RewardFunction } from '../rewards/reward.ts';
import type { OwnTaskOptions } from '../rewards/tasks/options.ts';
import { isTaskDefinition, type TaskDefinition } from '../rewards/tasks/own-task.ts';
import { ReckonError } from '../util/errors.ts';
import { importUserModule } from '../util/typescript.ts';
import type { KeyPath } from './nearest.ts';
import type { Recipe } from './recipe.ts';
import type { RewardRecipe } from './stages/rewards.ts';
import type { StageOf, StageType } from './stages.ts';

/** A value as a recipe may have it: what has a default may be left out, at any depth. */
type Loose<T> = T extends readonly unknown[] | number | string | boolean | null
  ? T
  : T extends object
    ? { readonly [K in keyof T]?: Loose<T[K]> | undefined }
    : T;

/** A reward as a TypeScript recipe may have it: by name, of a file, or a function that stands in the recipe. */
export type RewardInput = Omit<RewardRecipe, 'name' | 'sha256' | 'perGroup'> & {
  readonly name?: string | undefined;
} & (
    | { readonly perGroup?: false | undefined; readonly score?: RewardFunction | undefined }
    | { readonly perGroup: true; readonly score?: GroupRewardFunction | undefined }
  );

/** A stage of one type as a recipe may have it. */
export type StageInput<T extends StageType = StageType> = {
  readonly [K in T]: { readonly type: K } & Loose<Omit<StageOf<K>, 'type' | 'rewards'>> &
    (StageOf<K> extends { readonly rewards: unknown }
      ? { readonly rewards?: readonly RewardInput[] }
      : object);
}[T];

/** A task by name, with its options. */
type KnownTask = { readonly name: Recipe['task']['name'] } & Loose<Recipe['task']>;

/** A task that stands in the recipe, with the options that every task takes. */
type OwnTask = TaskDefinition & Loose<Omit<OwnTaskOptions, 'name' | 'file' | 'export' | 'sha256'>>;

/** A recipe as it may be written: every key with a default may be left out. */
export interface RecipeInput extends Loose<Omit<Recipe, 'version' | 'name' | 'task' | 'stages'>> {
  readonly version: 1;
  readonly name: string;
  readonly task: KnownTask | OwnTask;
  readonly stages: readonly StageInput[];
}

/** Gives a recipe in TypeScript its type, so that editor and compiler know every key: `export default defineRecipe({ ... })`. */
export function defineRecipe(recipe: RecipeInput): RecipeInput {
  return recipe;
}

/** What a recipe module holds, copied: its default export, or what that function returns. */
export async function importRecipe(file: string): Promise<Record<string, unknown>> {
  const module = await load(file);
  const exported = module['default'];
  const recipe: unknown = typeof exported === 'function' ? await exported() : exported;
  if (typeof recipe === 'object' && recipe !== null && !Array.isArray(recipe)) {
    const copy = copyOf(recipe) as Record<string, unknown>;
    nameRewards(copy, module, file);
    nameTask(copy, file);
    return copy;
  }
  const found = recipe === undefined ? 'no default export' : `a default export that is ${typeof recipe}`;
  const message = `${file}: expected \`export default defineRecipe({ ... })\`, found ${found}`;
  throw new ReckonError('recipe', 'recipe-no-default', message);
}

/** The line of a key: the last part of the path that stands in the text as a key exactly once; null where none does. */
export function lineInModule(text: string, path: KeyPath): number | null {
  const lines = text.split('\n');
  for (const part of path.toReversed()) {
    if (typeof part !== 'string') continue;
    const found = lines.flatMap((line, i) => (holdsKey(line, part) ? [i + 1] : []));
    if (found.length === 1) return found[0]!;
    if (found.length > 1) return null;
  }
  return null;
}

/**
 * Puts `file` and `export` in the place of reward functions, changing the recipe: a run that is resumed, the thread that
 * calls the function, and a sweep's processes find it again by the name of an export or by its place in the recipe.
 */
function nameRewards(
  recipe: Record<string, unknown>,
  module: Readonly<Record<string, unknown>>,
  file: string,
): void {
  const stages: unknown[] = Array.isArray(recipe['stages']) ? recipe['stages'] : [];
  for (const [i, stage] of stages.entries()) {
    const rewards = (stage as { rewards?: unknown } | null)?.rewards;
    for (const [j, reward] of (Array.isArray(rewards) ? rewards : []).entries()) {
      const entry = reward as Record<string, unknown> | null;
      if (typeof entry?.['score'] !== 'function') continue;
      const exported = exportOf(module, entry['score']);
      if (exported === null && entry['name'] === undefined) {
        const message = `${file}: stages[${i}].rewards[${j}].score is a function that stands in the recipe; give the reward a name`;
        throw new ReckonError('recipe', 'recipe-reward-function', message);
      }
      delete entry['score'];
      const place = `default.stages.${i}.rewards.${j}.score`;
      Object.assign(entry, {
        name: entry['name'] ?? exported,
        file: basename(file),
        export: exported ?? place,
      });
    }
  }
}

/** The same for a task that stands in the recipe: what is left of it are the options that every task takes. */
function nameTask(recipe: Record<string, unknown>, file: string): void {
  const { task } = recipe;
  if (!isTaskDefinition(task)) return;
  const definition = new Set<string>(['problems', 'prompt', 'demonstrate', 'judge', 'keepsFormat', 'stop']);
  const options = Object.entries(task).filter(([key]) => !definition.has(key));
  recipe['task'] = {
    ...Object.fromEntries(options),
    name: 'own',
    file: basename(file),
    export: 'default.task',
  };
}

/** The name by which a module exports a value, or null. */
function exportOf(module: Readonly<Record<string, unknown>>, value: unknown): string | null {
  return Object.keys(module).find((key) => key !== 'default' && module[key] === value) ?? null;
}

async function load(file: string): Promise<Readonly<Record<string, unknown>>> {
  try {
    return await importUserModule(file);
  } catch (error) {
    if (!(error instanceof ReckonError)) throw error;
    throw new ReckonError('recipe', 'recipe-module', error.message, { cause: error });
  }
}

function holdsKey(line: string, key: string): boolean {
  for (let at = line.indexOf(key); at >= 0; at = line.indexOf(key, at + 1)) {
    const before = line[at - 1] ?? ' ';
    const after = line
      .slice(at + key.length)
      .replace(/^['"]/, '')
      .trimStart();
    if (!/[\w$.-]/.test(before) && (after.startsWith(':') || after === '' || after.startsWith(',')))
      return true;
  }
  return false;
}

/** A deep copy that overrides may change; functions and class instances stay what they are. */
function copyOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copyOf);
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype)
    return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, copyOf(inner)]));
}
