/**
 * Owns the models of the hub that a recipe names: downloaded before the stages run, and at the commit of the run's first
 * start ever after (hub.json). Loads none of them.
 */

import { existsSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import * as z from 'zod';
import { cachedModel, localModel, parseRepoId } from '../hub/index.ts';
import { MODEL_KEYS, type Recipe } from '../recipe/index.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';

/** hub.json, version 1: the commits of what the recipe names. */
interface Pins {
  readonly version: 1;
  readonly models: Readonly<Record<string, string>>;
}

const pinsSchema: z.ZodType<Pins> = z.object({
  version: z.literal(1),
  models: z.record(z.string(), z.string()),
});

/** The models of the hub that a recipe names, each once, and whether this machine has it already. Asks no network. */
export async function hubModels(
  recipe: Recipe,
): Promise<readonly { readonly id: string; readonly here: boolean }[]> {
  const ids = new Set<string>();
  await withModels(recipe, async (name) => {
    if (!existsSync(name) && parseRepoId(name, 'model') !== null) ids.add(name);
    return name;
  });
  return [...ids].map((id) => ({ id, here: cachedModel(id, null) !== null }));
}

/** The recipe with folders in the place of hub ids; folders, and names of stages, stay as they are. */
export async function locateModels(
  recipe: Recipe,
  runDirectory: string,
  log: (line: string) => void,
): Promise<Recipe> {
  const path = join(runDirectory, 'hub.json');
  const pins = new Map(Object.entries(readPins(path)));
  const locate = async (name: string): Promise<string> => {
    const id = existsSync(name) ? null : parseRepoId(name, 'model');
    if (id === null) return name;
    const pin = pins.get(name);
    const folder = await localModel(pin === undefined ? name : `${id.name}@${pin}`, { log });
    if (pin === undefined) {
      pins.set(name, basename(folder));
      writeFileAtomic(path, `${JSON.stringify({ version: 1, models: Object.fromEntries(pins) }, null, 2)}\n`);
    }
    return folder;
  };
  return await withModels(recipe, locate);
}

/** The recipe with every name of a model changed. */
async function withModels(recipe: Recipe, locate: (name: string) => Promise<string>): Promise<Recipe> {
  const model = await replaced(recipe.model, ['path'], locate);
  const stages: Recipe['stages'][number][] = [];
  for (const stage of recipe.stages) {
    let located = stage.type === 'model' ? await replaced(stage, ['path'], locate) : stage;
    for (const keys of MODEL_KEYS) located = await replaced(located, keys, locate);
    stages.push(located);
  }
  return { ...recipe, model, stages };
}

/** The value with the text at a path of keys changed; itself where there is none. */
async function replaced<T extends object>(
  value: T,
  [key, ...rest]: readonly string[],
  change: (text: string) => Promise<string>,
): Promise<T> {
  const inner = (value as Readonly<Record<string, unknown>>)[key!];
  if (rest.length === 0) return typeof inner === 'string' ? { ...value, [key!]: await change(inner) } : value;
  if (typeof inner !== 'object' || inner === null) return value;
  return { ...value, [key!]: await replaced(inner, rest, change) };
}

function readPins(path: string): Readonly<Record<string, string>> {
  if (!existsSync(path)) return {};
  try {
    return pinsSchema.parse(JSON.parse(readFileSync(path, 'utf8'))).models;
  } catch (error) {
    const message = `${path} cannot be read (${messageOf(error).split('\n')[0]}); start again with --fresh or another --name`;
    throw new ReckonError('run', 'hub-pins-unreadable', message);
  }
}
