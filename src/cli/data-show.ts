/** Owns what `reckon data show` tells of data files: splits, columns, rows, malformed rows. */

import { BadRows, type DataRow, describeBadRow, readData, selectSplit } from '../data/index.ts';
import { formatTable, printable } from '../util/format.ts';
import type { ShowDataOptions } from './data.ts';
import { printResult } from './output.ts';

interface ColumnSummary {
  readonly name: string;
  /** Kinds of values, the most frequent first. */
  readonly kinds: readonly string[];
  /** Rows that have it. */
  readonly rows: number;
  /** The longest text; null for columns without text. */
  readonly longest: number | null;
}

/** Longer values are shown by their beginning, with the number of characters that are not shown. */
const SHOWN = 500;

/** Reads everything, so that every malformed row is met, and shows what `--split` names. */
export async function showData(path: string, options: ShowDataOptions): Promise<void> {
  const bad = new BadRows(options.skipBad ?? false);
  const splits = await readData(path, bad);
  const rows = selectSplit(splits, options.split ?? 'all');
  const columns = columnsOf(rows);
  const sizes = Object.fromEntries([...splits].map(([split, { length }]) => [split, length]));
  const shown = rows.slice(0, options.show);
  const result = {
    splits: sizes,
    rows: rows.length,
    columns,
    malformed: bad.found.map(describeBadRow),
    samples: shown.map(({ values }) => values),
  };
  const listed = Object.entries(sizes).map(([split, size]) => `${split} ${size.toLocaleString('en-US')}`);
  const table = columns.map(({ name, kinds, rows: count, longest }) => [
    name,
    kinds.join(', '),
    String(count),
    longest === null ? '' : String(longest),
  ]);
  const text = [
    `rows: ${listed.join(', ')}${options.split === undefined ? '' : `; ${options.split}: ${rows.length}`}`,
    '',
    formatTable([['column', 'values', 'rows', 'longest text'], ...table], ['left', 'left']),
    ...shown.map((row) => `\n${printable(rowText(row))}`),
    ...malformedText(result.malformed),
  ];
  printResult(options, result, text.join('\n'));
}

function columnsOf(rows: readonly DataRow[]): ColumnSummary[] {
  const found = new Map<string, { kinds: Map<string, number>; rows: number; longest: number | null }>();
  for (const { values } of rows) {
    for (const [name, value] of Object.entries(values)) {
      const column = found.get(name) ?? { kinds: new Map(), rows: 0, longest: null };
      const kind = kindOf(value);
      column.kinds.set(kind, (column.kinds.get(kind) ?? 0) + 1);
      column.rows++;
      if (typeof value === 'string') column.longest = Math.max(column.longest ?? 0, value.length);
      found.set(name, column);
    }
  }
  return [...found].map(([name, { kinds, ...rest }]) => ({
    name,
    kinds: [...kinds].sort((a, b) => b[1] - a[1]).map(([kind]) => kind),
    ...rest,
  }));
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'list';
  return typeof value === 'string' ? 'text' : typeof value === 'boolean' ? 'true or false' : typeof value;
}

function rowText({ file, line, values }: DataRow): string {
  const lines = Object.entries(values).map(([name, value]) => {
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    const more = text.length > SHOWN ? `... (${text.length - SHOWN} characters more)` : '';
    return `${name}: ${text.slice(0, SHOWN)}${more}`;
  });
  return [`--- ${file}:${line}`, ...lines].join('\n');
}

function malformedText(malformed: readonly string[]): string[] {
  if (malformed.length === 0) return [];
  const listed = malformed.slice(0, 20).map((row) => `  ${row}`);
  const more = malformed.length > 20 ? [`  and ${malformed.length - 20} more`] : [];
  const count = malformed.length === 1 ? '1 malformed row' : `${malformed.length} malformed rows`;
  return ['', `${count}, left out:`, ...listed, ...more];
}
