/** Owns which files make a data set and which split each belongs to, by their names alone. Reads no content. */

import { readdirSync, statSync } from 'node:fs';
import { basename, join, relative, sep } from 'node:path';
import { ReckonError } from '../util/errors.ts';
import { errorCode } from '../util/files.ts';

/** The endings of files that hold rows; each may also end in `.gz`. */
export const DATA_ENDINGS: readonly string[] = ['.jsonl', '.ndjson', '.json', '.csv', '.tsv', '.parquet'];

/** A file of a data set. */
export interface DataFile {
  readonly path: string;
  /** `train`, `validation` or `test` by its name or folder; `train` where neither says. */
  readonly split: string;
}

const SPLIT_WORDS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    train: 'train',
    training: 'train',
    validation: 'validation',
    valid: 'validation',
    val: 'validation',
    dev: 'validation',
    test: 'test',
    testing: 'test',
    eval: 'test',
    evaluation: 'test',
  }),
);

/** Files that describe a data set and are no part of it. */
const NOT_DATA = ['dataset_infos.json', 'dataset_info.json', 'package.json', 'summary.json', 'state.json'];

/**
 * The file, or all data files of a folder and its folders in the order of their names (hidden ones left out). Throws
 * `no-data` where there are none. `keep` chooses among a folder's files by their paths in it.
 */
export function dataFiles(path: string, keep: (path: string) => boolean = () => true): DataFile[] {
  const isFolder = folderOrFile(path);
  if (!isFolder) return [{ path, split: splitOf(basename(path)) }];
  const names = readdirSync(path, { recursive: true, encoding: 'utf8' });
  const wanted = names.filter(
    (name) =>
      isDataFile(name) && keep(name) && !NOT_DATA.includes(basename(name)) && !/(^|[\\/])\./.test(name),
  );
  const files = wanted.sort(byCodeUnits).map((name) => join(path, name));
  if (files.length > 0) return files.map((file) => ({ path: file, split: splitOf(relative(path, file)) }));
  throw new ReckonError(
    'data',
    'no-data',
    `Expected files that end in ${DATA_ENDINGS.join(', ')} in ${path}, found none; check the path.`,
  );
}

/** The ending that says the format, without `.gz`; null where it is no data file. */
export function endingOf(path: string): string | null {
  const bare = path.toLowerCase().replace(/\.gz$/, '');
  return DATA_ENDINGS.find((ending) => bare.endsWith(ending)) ?? null;
}

function isDataFile(name: string): boolean {
  return endingOf(name) !== null;
}

function folderOrFile(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch (error) {
    const why = errorCode(error) === 'ENOENT' ? 'nothing is there' : errorCode(error);
    throw new ReckonError(
      'data',
      'no-data',
      `Expected a data file or a folder of them at ${path}, found: ${why}; check the path.`,
      { cause: error },
    );
  }
}

/** By the words of the file's name, then of its folders from the inside out. */
function splitOf(path: string): string {
  const parts = path.split(/[\\/]/).reverse();
  for (const part of parts) {
    for (const word of part.toLowerCase().split(/[-_.\s]/)) {
      const split = SPLIT_WORDS.get(word);
      if (split !== undefined) return split;
    }
  }
  return 'train';
}

function byCodeUnits(a: string, b: string): number {
  const [x, y] = [a.split(sep).join('/'), b.split(sep).join('/')];
  return x < y ? -1 : x > y ? 1 : 0;
}
