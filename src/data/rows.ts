/** Owns the rows of a data file and the tale of its malformed ones: file, line, column. Knows no file format. */

import { ReckonError } from '../util/errors.ts';

/** One row as it stands in a file, before any column means anything. */
export interface DataRow {
  readonly values: Readonly<Record<string, unknown>>;
  readonly file: string;
  /** The line on which it begins, from 1; in a Parquet file the number of the row. */
  readonly line: number;
}

/** A row that cannot be used, and why. */
export interface BadRow {
  readonly file: string;
  readonly line: number;
  /** A character of the line, from 1, or the name of a column; null where neither is to blame. */
  readonly column: number | string | null;
  readonly message: string;
}

/** Collects malformed rows where they are to be skipped; else the first one ends the reading. */
export class BadRows {
  readonly found: BadRow[] = [];
  private readonly skip: boolean;

  constructor(skip: boolean) {
    this.skip = skip;
  }

  /** Takes note of a malformed row. Throws `bad-row` unless such rows are skipped. */
  add(row: BadRow): void {
    if (this.skip) {
      this.found.push(row);
      return;
    }
    const advice = 'correct it, or leave such rows out with --skip-bad (in a recipe: skipBad: true)';
    throw new ReckonError('data', 'bad-row', `${describeBadRow(row)}; ${advice}`);
  }
}

/** `train.jsonl:12:40: expected ...`, or with a column's name: `train.csv:3, column "question": expected ...`. */
export function describeBadRow({ file, line, column, message }: BadRow): string {
  const place = file.endsWith('.parquet') ? `${file}, row ${line}` : `${file}:${line}`;
  if (column === null) return `${place}: ${message}`;
  return typeof column === 'number'
    ? `${place}:${column}: ${message}`
    : `${place}, column "${column}": ${message}`;
}
