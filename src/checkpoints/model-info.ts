/**
 * Owns model_info.json: what a model or adapter was made of, by what, on what data and with which versions. Reads it
 * off the run that made it; knows no tensor.
 */

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import { parse } from 'yaml';
import { z } from 'zod';
import type { AdapterConfig } from '../models/index.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { sha256OfFile } from '../util/files.ts';
import { MANIFEST_FILE } from './manifest.ts';

/** A model that this one was made from; `sha256` is of its manifest, where it has one. */
export interface ModelParent {
  readonly name: string;
  readonly sha256: string | null;
}

/** The low-rank update that was trained: beside its base, or merged into it. */
export interface AdapterInfo {
  readonly type: 'lora' | 'rslora' | 'dora';
  readonly rank: number;
  readonly alpha: number;
  readonly targetModules: string | readonly string[];
  readonly merged: boolean;
}

/** model_info.json, version 1. */
export interface ModelInfo {
  readonly version: 1;
  /** Hub id or folder that everything began with; null where the first weights were random. */
  readonly base: string | null;
  /** The models on the way from there, oldest first. */
  readonly parents: readonly ModelParent[];
  /** What made it: a trainer, `merge` or `convert`. */
  readonly how: string;
  readonly steps: number | null;
  readonly tokens: number | null;
  readonly adapter: AdapterInfo | null;
  /** The task and its split, or the file that was learned from. */
  readonly data: Readonly<Record<string, unknown>> | null;
  /** Hash of everything in the recipe that the model depends on. */
  readonly recipe: string | null;
  readonly versions: Readonly<Record<string, string>>;
}

const FILE = 'model_info.json';

const infoSchema: z.ZodType<ModelInfo> = z.object({
  version: z.literal(1),
  base: z.string().nullable(),
  parents: z.array(z.object({ name: z.string(), sha256: z.string().nullable() })),
  how: z.string(),
  steps: z.int().nullable(),
  tokens: z.int().nullable(),
  adapter: z
    .object({
      type: z.enum(['lora', 'rslora', 'dora']),
      rank: z.int(),
      alpha: z.number(),
      targetModules: z.union([z.string(), z.array(z.string())]),
      merged: z.boolean(),
    })
    .nullable(),
  data: z.record(z.string(), z.unknown()).nullable(),
  recipe: z.string().nullable(),
  versions: z.record(z.string(), z.string()),
});

/** What a folder's model_info.json holds; null where it has none. */
export function readModelInfo(folder: string): ModelInfo | null {
  const path = join(folder, FILE);
  if (!existsSync(path)) return null;
  try {
    return infoSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    throw new ReckonError('data', 'bad-model-info', `${path} cannot be read: ${messageOf(error)}`);
  }
}

export function writeModelInfo(folder: string, info: ModelInfo): void {
  writeFileSync(join(folder, FILE), `${JSON.stringify(info, null, 2)}\n`);
}

/** A model of a run's stage: what it began with is read off its parent and the run's files, as far as they are there. */
export function stageModelInfo(
  stageDirectory: string,
  parent: string,
  made: Pick<ModelInfo, 'how' | 'steps' | 'tokens' | 'adapter'>,
): ModelInfo {
  const run = dirname(stageDirectory);
  const recipe = readRecipe(run);
  const before = readModelInfo(parent);
  const stage = recipe.stages?.[Number.parseInt(basename(stageDirectory), 10) - 1];
  const file = stage?.dataFile ?? stage?.pairsFile;
  return {
    version: 1,
    base: before ? before.base : (recipe.model?.path ?? null),
    parents: [...(before?.parents ?? []), modelParent(parent, run)],
    ...made,
    data: file === undefined ? (recipe.task ? { task: recipe.task } : null) : { file },
    recipe: readJson(join(stageDirectory, 'stage.json'))['inputHash'] ?? null,
    versions: versionsOf(run),
  };
}

/**
 * A model made from others without training: the first of `parents` is where it comes from, the last what it was
 * taught by. `made.base` is told where the first has no model_info.json.
 */
export function derivedModelInfo(
  parents: readonly [string, ...string[]],
  made: Pick<ModelInfo, 'how' | 'base' | 'versions'> & { readonly adapter?: AdapterInfo },
): ModelInfo {
  const first = readModelInfo(parents[0]);
  const last = readModelInfo(parents.at(-1)!);
  const before = (last ?? first)?.parents ?? [];
  const known = new Set(before.map(({ sha256 }) => sha256));
  const added = parents
    .map((parent) => modelParent(parent, homeOf(parent)))
    .filter(({ sha256 }) => sha256 === null || !known.has(sha256));
  return {
    version: 1,
    base: first ? first.base : made.base,
    parents: [...before, ...added],
    how: made.how,
    steps: last?.steps ?? null,
    tokens: last?.tokens ?? null,
    adapter: made.adapter ?? last?.adapter ?? null,
    data: last?.data ?? null,
    recipe: last?.recipe ?? null,
    versions: made.versions,
  };
}

/** What model_info.json says of an adapter. */
export function adapterInfo(config: AdapterConfig, merged: boolean): AdapterInfo {
  const { rank, alpha, targetModules, dora, rslora } = config;
  return { type: dora ? 'dora' : rslora ? 'rslora' : 'lora', rank, alpha, targetModules, merged };
}

/** The entry for a model folder among the parents of what is made from it, named from `from`. */
export function modelParent(folder: string, from: string): ModelParent {
  const manifest = join(folder, MANIFEST_FILE);
  return {
    name: relative(from, folder).split(sep).join('/'),
    sha256: existsSync(manifest) ? sha256OfFile(manifest) : null,
  };
}

/** The folder that a model is named from: of a run's checkpoint the run, else the folder that holds it. */
function homeOf(folder: string): string {
  const path = resolve(folder);
  const isCheckpoint = basename(dirname(path)) === 'checkpoints';
  return isCheckpoint ? dirname(dirname(dirname(path))) : dirname(path);
}

interface RecipeFacts {
  readonly task?: Record<string, unknown>;
  readonly model?: { readonly path?: string };
  readonly stages?: readonly { readonly dataFile?: string; readonly pairsFile?: string }[];
}

function readRecipe(run: string): RecipeFacts {
  const path = join(run, 'recipe.yaml');
  return existsSync(path) ? ((parse(readFileSync(path, 'utf8')) ?? {}) as RecipeFacts) : {};
}

function readJson(path: string): Record<string, string | undefined> {
  return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : {};
}

function versionsOf(run: string): Record<string, string> {
  const environment = readJson(join(run, 'environment.json'));
  const known = ['reckon', 'libtorch', 'node'].flatMap((name) => {
    const version = environment[name];
    return version === undefined ? [] : [[name, version] as const];
  });
  return Object.fromEntries(known);
}
