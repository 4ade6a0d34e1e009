/** Owns the look for what a recipe names, files, data and models: whether it is there, of the right form, and what was probably meant. */

import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { endingOf } from '../data/data-files.ts';
import { readExamples, readPairLines } from '../data/training-rows.ts';
import { parseRepoId } from '../hub/index.ts';
import { messageOf } from '../util/errors.ts';
import type { RecipeProblem } from './issues.ts';
import { leavesModel, modelStage, namedModels, stageName } from './lineage.ts';
import { formatPath, type KeyPath, nearest, suggest } from './nearest.ts';
import type { Recipe } from './recipe.ts';
import { problem } from './stages/kind.ts';
import type { Stage } from './stages.ts';
import type { TaskRecipe } from './task.ts';

/** Keys of stages that name a file which must be there, and what reads its lines. */
const FILE_KEYS: Readonly<Record<string, (path: string) => unknown>> = {
  dataFile: readExamples,
  validationFile: readExamples,
  pairsFile: readPairLines,
};

/**
 * A problem for each file or model folder that is not there or not of its form; relative names are taken from the folder of the
 * command. Lines that are learned from are read, the rows of a task are not: the first stage does that.
 */
export function checkFiles(recipe: Recipe): RecipeProblem[] {
  const stages = recipe.stages.flatMap((stage, i) => [
    ...ofStage(stage, ['stages', i]),
    ...ofNamed(recipe.stages, i),
    ...(stage.type === 'model' ? ofModel(stage.path, ['stages', i, 'path']) : []),
  ]);
  const model = ofModel(recipe.model.path, ['model', 'path'], ['tokenizer.json']);
  return [...ofTask(recipe.task, ['task']), ...model, ...stages];
}

/** What the stage at `index` reads data from, by key path: files, folders and data sets on the hub; the first reads the task's. */
export function namedData({ task, stages }: Recipe, index: number): Readonly<Record<string, string>> {
  const own = Object.entries(stages[index]!).filter(([key]) => key in FILE_KEYS);
  const named = own.map(([key, file]) => [`stages[${index}].${key}`, file as unknown]);
  const found = [...(index === 0 ? dataOfTask(task, ['task']) : []), ...named];
  return Object.fromEntries(found.filter(([, file]) => typeof file === 'string'));
}

function dataOfTask(task: TaskRecipe, path: KeyPath): [string, string | undefined][] {
  if (task.name === 'mixture')
    return task.sources.flatMap((source, i) => dataOfTask(source.task, [...path, 'sources', i, 'task']));
  return [
    [formatPath([...path, 'path']), 'path' in task ? task.path : undefined],
    [formatPath([...path, 'passRates', 'file']), task.passRates?.file],
  ];
}

/** A model is a folder that is there, or a name on the hub, which is asked for later. */
function ofModel(name: string | undefined, path: KeyPath, needed: readonly string[] = []): RecipeProblem[] {
  if (name === undefined) return [];
  if (existsSync(name)) return ofModelFolder(name, path, needed);
  if (parseRepoId(name, 'model') !== null) return [];
  return [
    problem(path, `is ${name}, which is neither a folder here nor the name of a model on the hub (org/name)`),
  ];
}

function ofModelFolder(folder: string, path: KeyPath, needed: readonly string[]): RecipeProblem[] {
  if (!statSync(folder).isDirectory())
    return [problem(path, `is ${folder}, which is a file; name the folder that holds it`)];
  const adapter = existsSync(join(folder, 'adapter_config.json'));
  const missing = [...(adapter ? [] : ['config.json']), ...needed].find(
    (name) => !existsSync(join(folder, name)),
  );
  if (missing === undefined) return [];
  const advice = 'give a checkpoint, a folder in Hugging Face format or a hub id';
  return [problem(path, `is ${folder}, a folder without ${missing}; ${advice}`)];
}

/** Teachers and references: an earlier stage, a folder or a name on the hub. */
function ofNamed(stages: readonly Stage[], index: number): RecipeProblem[] {
  return namedModels(stages[index]!).flatMap(({ keys, name }) => {
    if (modelStage(stages, name, index) !== null) return [];
    const path = ['stages', index, ...keys];
    if (existsSync(name) || parseRepoId(name, 'model') !== null) return ofModel(name, path);
    const known = stages.slice(0, index).filter(leavesModel).map(stageName);
    const what = 'neither an earlier stage that leaves a model, nor a folder here, nor org/name on the hub';
    return [problem(path, `is ${name}, which is ${what}; ${suggest(name, known)}`)];
  });
}

function ofTask(task: TaskRecipe, path: KeyPath): RecipeProblem[] {
  if (task.name === 'mixture')
    return task.sources.flatMap((source, i) => ofTask(source.task, [...path, 'sources', i, 'task']));
  const rates = task.passRates?.file;
  return [
    ...('path' in task && task.path !== undefined ? ofData(task.path, [...path, 'path']) : []),
    ...(rates === undefined ? [] : ofFile(rates, [...path, 'passRates', 'file'])),
  ];
}

/** Data is a file or folder that is there, or a data set on the hub: `org/name`, but neither `data/x.jsonl` nor in a folder here. */
function ofData(name: string, path: KeyPath): RecipeProblem[] {
  if (existsSync(name)) return [];
  const local = endingOf(name) !== null || (existsSync(dirname(name)) && dirname(name) !== '.');
  if (!local && parseRepoId(name, 'dataset') !== null) return [];
  return [problem(path, `names ${name}, and ${advice(name)}`)];
}

function ofStage(stage: Stage, path: KeyPath): RecipeProblem[] {
  return Object.entries(stage).flatMap(([key, file]) => {
    const read = FILE_KEYS[key];
    if (read === undefined || typeof file !== 'string') return [];
    const at = [...path, key];
    const absent = ofFile(file, at);
    if (absent.length > 0) return absent;
    try {
      read(file);
      return [];
    } catch (error) {
      return [problem(at, `names ${file}, which cannot be used: ${messageOf(error)}`)];
    }
  });
}

function ofFile(file: string, path: KeyPath): RecipeProblem[] {
  if (!existsSync(file)) return [problem(path, `names ${file}, and ${advice(file)}`)];
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
