/** Owns the way from what a user calls a model or a data set (a path or a hub id) to a folder. Reads no weights. */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf, ReckonError } from '../util/errors.ts';
import { cachedSnapshot } from './cache.ts';
import { parseRepoId, type RepoId, type RepoKind, repoText } from './repo-id.ts';
import { hubSettings } from './settings.ts';
import { type DownloadOptions, type FileChoice, openSnapshot } from './snapshot.ts';

/** How a model is fetched. */
export interface ModelOptions extends DownloadOptions {
  /** An adapter's base comes along where it is named by its hub id; default true. */
  readonly withBase?: boolean;
  /** False leaves the weights where they are: configs and tokenizer only; default true. */
  readonly withWeights?: boolean;
}

/**
 * The folder of a model or adapter: a folder that is there as it is, else `org/name` or `org/name@revision` from the hub,
 * downloaded into its cache.
 */
export async function localModel(name: string, options: ModelOptions = {}): Promise<string> {
  const choose = options.withWeights === false ? textFiles : modelFiles;
  const folder = await localRepo(name, 'model', choose, options);
  const base = options.withBase === false ? null : adapterBaseOf(folder);
  if (base !== null && !existsSync(join(folder, base.name)) && !existsSync(base.name)) {
    await localRepo(repoText(base), 'model', choose, options);
  }
  return folder;
}

/** The folder of a data set's files: a folder as it is, else from the hub; `choose` picks its files, all by default. */
export function localDataset(
  name: string,
  choose: FileChoice = (paths) => paths,
  options: DownloadOptions = {},
): Promise<string> {
  return localRepo(name, 'dataset', choose, options);
}

/** The folder of a base model that an adapter names: a hub id that is in the cache; null where it is not. */
export function cachedModel(name: string, revision: string | null): string | null {
  const id = parseRepoId(name, 'model');
  return id && cachedSnapshot(hubSettings().cache, revision === null ? id : { ...id, revision });
}

/** What a user calls a model as a folder, without asking the network: a hub id becomes its snapshot in the cache, if any. */
export function cachedFolder(name: string): string {
  return existsSync(name) ? name : (cachedModel(name, null) ?? name);
}

/** What a model is made of: configs, tokenizer and safetensors in the repository's own folder. */
export function modelFiles(paths: readonly string[]): string[] {
  const own = paths.filter((path) => !path.includes('/'));
  const weights = own.includes('model.safetensors')
    ? ['model.safetensors']
    : own.filter((path) => /^model-\d+-of-\d+\.safetensors$/.test(path));
  const adapter = own.filter((path) => path === 'adapter_model.safetensors');
  if (weights.length + adapter.length === 0) {
    const found = own.find((path) => /\.(bin|gguf|safetensors|pth|pt)$/.test(path));
    throw new ReckonError(
      'data',
      'no-safetensors',
      `expected model.safetensors, shards of it or adapter_model.safetensors in the repository, found ${found ?? 'no weights'}; choose one that has them`,
    );
  }
  return [...textFiles(paths), ...weights, ...adapter];
}

/** Configs and tokenizer in the repository's own folder. */
function textFiles(paths: readonly string[]): string[] {
  return paths.filter((path) => !path.includes('/') && /\.(json|jinja|txt)$/.test(path));
}

async function localRepo(
  name: string,
  kind: RepoKind,
  choose: FileChoice,
  options: DownloadOptions,
): Promise<string> {
  if (existsSync(name)) {
    if (statSync(name).isDirectory()) return name;
    throw new ReckonError('usage', 'no-model-folder', `${name} is a file; name the folder that holds it`);
  }
  const id = parseRepoId(name, kind);
  if (id !== null) {
    return openSnapshot(id, choose, options).catch((error: unknown) => {
      if (!(error instanceof ReckonError) || !/^hub-(missing|private-or-missing)$/.test(error.code))
        throw error;
      const message = `${error.message}; there is no folder of that name here either`;
      throw new ReckonError(error.category, error.code, message, { cause: error });
    });
  }
  const form = kind === 'model' ? 'a model on the hub (org/name)' : 'a data set on the hub (org/name)';
  throw new ReckonError(
    'usage',
    'no-model-folder',
    `'${name}' is neither a folder here nor the name of ${form}`,
  );
}

/** The hub id that an adapter folder names as its base, or null. */
function adapterBaseOf(folder: string): RepoId | null {
  const path = join(folder, 'adapter_config.json');
  if (!existsSync(path)) return null;
  let config: Record<string, unknown>;
  try {
    config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  } catch (error) {
    throw new ReckonError('data', 'bad-adapter-folder', `${path} cannot be read: ${messageOf(error)}`);
  }
  const { base_model_name_or_path: base, revision } = config;
  const id = typeof base === 'string' ? parseRepoId(base, 'model') : null;
  return id && typeof revision === 'string' && revision !== '' ? { ...id, revision } : id;
}
