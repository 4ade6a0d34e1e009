/** Owns reading data files of every format into rows by split. Knows no columns and no problems. */

import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { messageOf, ReckonError } from '../util/errors.ts';
import { parseCsv } from './csv.ts';
import { DATA_ENDINGS, type DataFile, dataFiles, endingOf } from './data-files.ts';
import { parseJson, parseJsonLines } from './json-rows.ts';
import { parseParquet } from './parquet.ts';
import type { BadRows, DataRow } from './rows.ts';

/** The rows of a data set by the name of their split. */
export type RowsBySplit = ReadonlyMap<string, readonly DataRow[]>;

/**
 * Reads a JSON Lines, JSON, CSV, TSV or Parquet file (also behind gzip), or all of a folder. Malformed rows go to
 * `bad`. Throws `no-data`, `unknown-format`, `unreadable-data` and, unless they are skipped, `bad-row`.
 */
export async function readData(
  path: string,
  bad: BadRows,
  keep?: (path: string) => boolean,
): Promise<RowsBySplit> {
  const splits = new Map<string, DataRow[]>();
  for (const file of dataFiles(path, keep)) {
    const rows = await readRows(file, bad);
    const known = splits.get(file.split);
    if (known === undefined) splits.set(file.split, rows);
    else for (const row of rows) known.push(row);
  }
  return splits;
}

async function readRows({ path }: DataFile, bad: BadRows): Promise<DataRow[]> {
  const ending = endingOf(path);
  if (ending === null) {
    throw new ReckonError(
      'data',
      'unknown-format',
      `Expected a file that ends in ${DATA_ENDINGS.join(', ')} (or one of them and .gz), found ${path}; rename or convert it.`,
    );
  }
  const bytes = readable(path, () => readBytes(path));
  if (ending === '.parquet') return parseParquet(bytes, path);
  // A text has a largest length, about half a gigabyte.
  const text = readable(path, () =>
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'),
  );
  if (ending === '.json') return parseJson(text, path, bad);
  if (ending === '.csv') return parseCsv(text, path, ',', bad);
  if (ending === '.tsv') return parseCsv(text, path, '\t', bad);
  return parseJsonLines(text, path, bad);
}

function readBytes(path: string): Uint8Array<ArrayBuffer> {
  const bytes = readFileSync(path);
  return path.toLowerCase().endsWith('.gz') ? Uint8Array.from(gunzipSync(bytes)) : bytes;
}

function readable<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    throw new ReckonError('data', 'unreadable-data', `${path} cannot be read: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}
