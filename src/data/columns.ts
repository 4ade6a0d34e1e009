/** Owns what a row's columns mean: a mapping from the parts of a problem to columns. Reads no file. */

import type { BadRows, DataRow } from './rows.ts';

/**
 * The column of each part of a problem; `a.b` looks inside objects and `a.0` inside lists, unless a column has that very
 * name.
 */
export interface Columns {
  readonly question: string;
  /** The bare answer; without it, it is taken from the solution. */
  readonly answer?: string | undefined;
  /** The worked solution. */
  readonly solution?: string | undefined;
  /** A name that is unique in the data; by default the split and the number of the row. */
  readonly id?: string | undefined;
}

/** Columns in which scripts write what a model said, and what is right, in the order in which they are looked for. */
export const completionColumns: readonly string[] = ['completion', 'response', 'output'];
export const referenceColumns: readonly string[] = [
  'solution',
  'ground_truth_text',
  'ground_truth',
  'answer',
  'reference',
];

/** The value of a column, or undefined where the row has none. */
export function valueAt(values: Readonly<Record<string, unknown>>, column: string): unknown {
  if (Object.hasOwn(values, column)) return values[column];
  let value: unknown = values;
  for (const part of column.split('.')) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, part)) return undefined;
    value = (value as Record<string, unknown>)[part];
  }
  return value;
}

/** A column as text: text as it is, numbers and booleans written out. Anything else is a malformed row, and null. */
export function textAt(row: DataRow, column: string, bad: BadRows): string | null {
  const value = valueAt(row.values, column);
  if (typeof value === 'string' && value.trim() !== '') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  const message =
    value === undefined
      ? `expected text, found no such column; the row has ${Object.keys(row.values).join(', ') || 'none'}`
      : `expected text, found ${describe(value)}`;
  bad.add({ file: row.file, line: row.line, column, message });
  return null;
}

function describe(value: unknown): string {
  if (value === null) return 'null';
  if (typeof value === 'string') return 'empty text';
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
}
