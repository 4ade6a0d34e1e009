/**
 * Owns what commands that write a model folder share: where it may be written, in what dtype and shard size, and the
 * files that are taken over as they are. Knows no weights.
 */

import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import { writeModelCard } from '../checkpoints/model-card.ts';
import { type AdapterInfo, derivedModelInfo, writeModelInfo } from '../checkpoints/model-info.ts';
import { type DownloadOptions, parseRepoId } from '../hub/index.ts';
import { readTorchBuild } from '../run/machine.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { reckonVersion } from '../util/place.ts';
import type { GlobalOptions } from './output.ts';

/** The dtypes that weights are stored in. */
export type StoredDtype = 'f32' | 'bf16' | 'f16';

const dtypes: Readonly<Record<string, StoredDtype>> = { float32: 'f32', bfloat16: 'bf16', float16: 'f16' };

/** What a tokenizer is made of, beside the weights and their configs. */
const tokenizerFiles = [
  'added_tokens.json',
  'chat_template.jinja',
  'merges.txt',
  'special_tokens_map.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'vocab.json',
];

/** The dtype that a model folder's config states; f32 where it states none. */
export function storedDtype(folder: string): StoredDtype {
  const path = join(folder, 'config.json');
  try {
    const config = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
    return dtypes[String(config['dtype'] ?? config['torch_dtype'])] ?? 'f32';
  } catch (error) {
    throw new ReckonError('usage', 'no-model-folder', `${path} cannot be read: ${messageOf(error)}`);
  }
}

/** `--max-shard-size`, in bytes. */
export function maxShardOption(): Option {
  return new Option('--max-shard-size <size>', 'weights are cut into files of at most this size')
    .argParser(sizeInBytes)
    .default(5e9, '5GB');
}

/** Bytes of a size such as `5GB`, `500MB` or `2GiB`. */
function sizeInBytes(text: string): number {
  const match = /^(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?)(i?)B?$/i.exec(text.trim());
  const power = ['', 'K', 'M', 'G', 'T'].indexOf(match?.[2]?.toUpperCase() ?? '');
  const bytes = match ? Math.floor(Number(match[1]) * (match[3] ? 1024 : 1000) ** power) : 0;
  if (bytes >= 1) return bytes;
  throw new InvalidArgumentError('expected a size such as 5GB, 500MB or 2GiB');
}

/** Writes a new folder whole or not at all: `fill` failing leaves nothing. It must not be there, or be empty. */
export async function writeNewFolder<T>(folder: string, fill: () => T | Promise<T>): Promise<T> {
  if (existsSync(folder) && readdirSync(folder).length > 0) {
    throw new ReckonError('usage', 'folder-exists', `${folder} is there already and not empty; name another`);
  }
  mkdirSync(folder, { recursive: true });
  try {
    return await fill();
  } catch (error) {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  }
}

/** Copies the tokenizer of the first folder that has one, and the generation config of the last that has one. */
export function copyTokenizer(sources: readonly string[], target: string): void {
  const source = sources.find((folder) => existsSync(join(folder, 'tokenizer.json')));
  const generation = sources.findLast((folder) => existsSync(join(folder, 'generation_config.json')));
  for (const [folder, names] of [
    [source, tokenizerFiles],
    [generation, ['generation_config.json']],
  ] as const) {
    for (const name of names) {
      if (folder !== undefined && existsSync(join(folder, name)))
        writeFileSync(join(target, name), readFileSync(join(folder, name)));
    }
  }
}

/** Writes model_info.json and the card of a model that was made from others without training. */
export function describeDerived(
  folder: string,
  parents: readonly [string, ...string[]],
  made: { readonly how: string; readonly base: string; readonly adapter?: AdapterInfo },
): void {
  const versions = {
    reckon: reckonVersion(),
    libtorch: readTorchBuild()?.version ?? 'unknown',
    node: process.version,
  };
  const info = derivedModelInfo(parents, { ...made, versions });
  writeModelInfo(folder, info);
  writeModelCard(folder, info);
}

/** 494.03 M. */
export function inMillions(count: number): string {
  return `${(count / 1e6).toFixed(2)} M`;
}

/** How a model is called in the model_info.json of what was made from it: its hub id, or its folder's own name. */
export function modelName(name: string): string {
  return existsSync(name) || parseRepoId(name, 'model') === null
    ? basename(name.replace(/[/\\]+$/, ''))
    : name;
}

/** Downloads tell what they do on stderr, unless the command is to be quiet. */
export function downloadOptions({ quiet }: GlobalOptions): DownloadOptions {
  return quiet === true ? {} : { log: (line) => process.stderr.write(`${line}\n`) };
}
