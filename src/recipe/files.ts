/** Owns the look for files that a recipe names: whether they are there, and what was probably meant. Reads none of them. */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { parseRepoId } from '../hub/index.ts';
import type { RecipeProblem } from './issues.ts';
import { type KeyPath, nearest } from './nearest.ts';
import type { Recipe } from './recipe.ts';
import { problem } from './stages/kind.ts';

/** Keys that name a file which must be there, wherever they stand. */
const FILE_KEYS: readonly string[] = ['dataFile', 'validationFile', 'pairsFile'];

/** A problem for each file or model folder that is not there; relative names are taken from the folder of the command. */
export function checkFiles(recipe: Recipe): RecipeProblem[] {
  const stages = recipe.stages.flatMap((stage, i) => [
    ...within(stage, ['stages', i]),
    ...(stage.type === 'model' ? ofModel(stage.path, ['stages', i, 'path']) : []),
  ]);
  return [...ofModel(recipe.model.path, ['model', 'path']), ...stages];
}

/** A model is a folder that is there, or a name on the hub, which is asked for later. */
function ofModel(name: string | undefined, path: KeyPath): RecipeProblem[] {
  if (name === undefined || existsSync(name) || parseRepoId(name, 'model') !== null) return [];
  return [
    problem(path, `is ${name}, which is neither a folder here nor the name of a model on the hub (org/name)`),
  ];
}

function within(value: unknown, path: KeyPath): RecipeProblem[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]): RecipeProblem[] => {
    const at = [...path, Array.isArray(value) ? Number(key) : key];
    if (typeof inner !== 'string' || !FILE_KEYS.includes(key)) return within(inner, at);
    return existsSync(inner) ? ofFile(inner, at) : [problem(at, `names ${inner}, and ${advice(inner)}`)];
  });
}

function ofFile(file: string, path: KeyPath): RecipeProblem[] {
  return statSync(file).isDirectory()
    ? [problem(path, `names ${file}, which is a folder; name a file in it`)]
    : [];
}

/** What is wrong with a path: the folder, or the name in it, with the nearest that is there. */
function advice(file: string): string {
  const folder = dirname(file);
  if (!existsSync(folder)) return `there is no folder ${folder}; check the path`;
  const near = nearest(basename(file), statSync(folder).isDirectory() ? readdirSync(folder) : []);
  return near === null
    ? 'there is no such file; check the path'
    : `there is no such file; did you mean ${join(folder, near)}?`;
}
