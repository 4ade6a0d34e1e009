/** Owns rows from Parquet files, of every compression that hyparquet knows. Knows no problem. */

import { messageOf, ReckonError } from '../util/errors.ts';
import type { DataRow } from './rows.ts';

/**
 * The rows of a Parquet file that is already in memory, as plain JSON values: 64-bit integers become numbers where they
 * are safe and text elsewhere, dates ISO text. Throws `bad-parquet`; a Parquet file has no single bad rows.
 */
export async function parseParquet(bytes: Uint8Array<ArrayBuffer>, file: string): Promise<DataRow[]> {
  // Loaded here, so that the other formats and the browser do without.
  const { parquetReadObjects } = await import('hyparquet');
  const { compressors } = await import('hyparquet-compressors');
  const { buffer, byteOffset, byteLength } = bytes;
  const source = {
    byteLength,
    slice: (start: number, end = byteLength) => buffer.slice(byteOffset + start, byteOffset + end),
  };
  try {
    const objects = await parquetReadObjects({ file: source, compressors });
    return objects.map((values, i) => ({ values: plain(values) as DataRow['values'], file, line: i + 1 }));
  } catch (thrown) {
    throw new ReckonError(
      'data',
      'bad-parquet',
      `${file}: expected a Parquet file, found one that cannot be read: ${messageOf(thrown)}; fetch or write it again`,
      { cause: thrown },
    );
  }
}

function plain(value: unknown): unknown {
  if (typeof value === 'bigint') {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : String(value);
  }
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return value.toISOString();
  if (ArrayBuffer.isView(value))
    return value instanceof Uint8Array ? Buffer.from(value).toString('utf8') : value;
  if (Array.isArray(value)) return value.map(plain);
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}
