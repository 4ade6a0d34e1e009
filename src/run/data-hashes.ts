/** Owns the hashes of the data that a stage reads, so that a file which has changed is noticed. Understands no row. */

import { existsSync, statSync } from 'node:fs';
import { relative } from 'node:path';
import { dataFiles } from '../data/data-files.ts';
import { namedData, type Recipe } from '../recipe/index.ts';
import { sha256, sha256OfFile } from '../util/files.ts';

/** The hash of what each key names that says where data lies here. */
export type DataHashes = Readonly<Record<string, string>>;

/** Of the files that the stage at `index` reads; the first stage reads the task's. Data on the hub has none. */
export function dataHashes(recipe: Recipe, index: number): DataHashes {
  const named = Object.entries(namedData(recipe, index)).filter(([, path]) => existsSync(path));
  return Object.fromEntries(named.map(([key, path]) => [key, hashOf(path)]));
}

/** `stages[1].dataFile names other data than then`; null where what both know is the same. */
export function describeOtherData(before: DataHashes, after: DataHashes): string | null {
  const key = Object.keys(before).find((one) => after[one] !== undefined && after[one] !== before[one]);
  return key === undefined ? null : `${key} names data that is not what it was`;
}

function hashOf(path: string): string {
  if (!statSync(path).isDirectory()) return sha256OfFile(path);
  const files = dataFiles(path).map((file) => [relative(path, file.path), sha256OfFile(file.path)]);
  return sha256(JSON.stringify(files));
}
