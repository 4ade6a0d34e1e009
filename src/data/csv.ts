/** Owns CSV and TSV as RFC 4180 has them: text to rows by column name, and back. Knows no file and no problem. */

import { ReckonError } from '../util/errors.ts';
import type { BadRows, DataRow } from './rows.ts';

interface CsvRecord {
  readonly fields: readonly string[];
  /** From 1, the line on which the record begins. */
  readonly line: number;
  /** What is wrong with it, with the character of its line from 1; null where nothing is. */
  readonly error: { readonly line: number; readonly column: number; readonly message: string } | null;
}

/**
 * The rows of a text whose first record names the columns; every value is a string. Fields may be quoted, hold doubled
 * quotes, separators and line ends; lines end in LF or CRLF; a byte-order mark and empty lines are left out. Two columns of
 * one name are `repeated-column`, whatever is done with bad rows; those without a name are no matter: nobody asks for them.
 */
export function parseCsv(text: string, file: string, separator: ',' | '\t', bad: BadRows): DataRow[] {
  const rows: DataRow[] = [];
  let header: readonly string[] | undefined;
  for (const { fields, line, error } of records(text, separator)) {
    if (error !== null) {
      bad.add({ file, ...error });
    } else if (header === undefined) {
      header = fields;
      requireDistinct(header, `${file}:${line}`);
    } else if (fields.length !== header.length) {
      const message = `expected ${header.length} fields as the header has, found ${fields.length}`;
      bad.add({ file, line, column: header[fields.length] ?? null, message });
    } else {
      const names = header;
      rows.push({ values: Object.fromEntries(fields.map((field, i) => [names[i]!, field])), file, line });
    }
  }
  return rows;
}

function requireDistinct(header: readonly string[], place: string): void {
  const second = header.findIndex((name, i) => name !== '' && header.indexOf(name) < i);
  if (second < 0) return;
  const name = header[second]!;
  const both = `columns ${header.indexOf(name) + 1} and ${second + 1}`;
  const message = `${place}: expected columns of different names, found ${both} both named "${name}"; rename or remove one`;
  throw new ReckonError('data', 'repeated-column', message);
}

/** Records as CSV text: fields are quoted where they must be, lines end in LF. */
export function formatCsv(records: readonly (readonly string[])[], separator: ',' | '\t' = ','): string {
  // A record of one empty field would be an empty line, which a reader leaves out.
  const quoted = (field: string, alone: boolean): string =>
    /["\r\n]/.test(field) ||
    field.includes(separator) ||
    (alone && field === '') ||
    field.startsWith('\ufeff')
      ? `"${field.replaceAll('"', '""')}"`
      : field;
  return records
    .map((fields) => `${fields.map((field) => quoted(field, fields.length === 1)).join(separator)}\n`)
    .join('');
}

/** Every record of the text in order; after one that cannot be read, the reading goes on with the next line. */
function* records(text: string, separator: string): Generator<CsvRecord> {
  let position = text.startsWith('\ufeff') ? 1 : 0;
  let line = 1;
  while (position < text.length) {
    const { fields, end, error } = readRecord(text, position, separator);
    if (error !== null) {
      const next = lineEnd(text, position);
      const [errorLine, column] = placeOf(text, position, line, error.at);
      yield { fields: [], line, error: { line: errorLine, column, message: error.message } };
      position = next;
      line += 1;
      continue;
    }
    if (fields.length > 1 || fields[0] !== '' || text[position] === '"') yield { fields, line, error: null };
    line += countLines(text, position, end);
    position = end;
  }
}

interface ReadRecord {
  readonly fields: readonly string[];
  /** Where the next record begins. */
  readonly end: number;
  readonly error: { readonly at: number; readonly message: string } | null;
}

function readRecord(text: string, start: number, separator: string): ReadRecord {
  const fields: string[] = [];
  let position = start;
  for (;;) {
    const quoted = text[position] === '"';
    const field = quoted ? readQuoted(text, position) : readPlain(text, position, separator);
    if (field === null) {
      const message = 'this quote is never closed; close it, or double a quote that belongs to the text';
      return { fields, end: text.length, error: { at: position, message } };
    }
    fields.push(field.value);
    position = field.end;
    if (text[position] === separator) {
      position++;
      continue;
    }
    if (position >= text.length) return { fields, end: position, error: null };
    const width = endOfLineAt(text, position);
    if (width > 0) return { fields, end: position + width, error: null };
    const message =
      "expected a separator or the line's end behind a closing quote; double a quote that belongs to the text";
    return { fields, end: position, error: { at: position, message } };
  }
}

interface Field {
  readonly value: string;
  readonly end: number;
}

function readPlain(text: string, start: number, separator: string): Field {
  let end = start;
  while (end < text.length && text[end] !== separator && endOfLineAt(text, end) === 0) end++;
  return { value: text.slice(start, end), end };
}

/** A quoted field, or null where its quote is never closed. */
function readQuoted(text: string, start: number): Field | null {
  let value = '';
  let position = start + 1;
  for (;;) {
    const quote = text.indexOf('"', position);
    if (quote < 0) return null;
    value += text.slice(position, quote);
    if (text[quote + 1] !== '"') return { value, end: quote + 1 };
    value += '"';
    position = quote + 2;
  }
}

/** The width of a line's end here: LF, CRLF, or a CR that closes the text; 0 for anything else. */
function endOfLineAt(text: string, position: number): number {
  if (text[position] === '\n') return 1;
  if (text[position] !== '\r') return 0;
  if (text[position + 1] === '\n') return 2;
  return position + 1 === text.length ? 1 : 0;
}

function lineEnd(text: string, from: number): number {
  const found = text.indexOf('\n', from);
  return found < 0 ? text.length : found + 1;
}

function countLines(text: string, from: number, to: number): number {
  let lines = 0;
  for (let i = text.indexOf('\n', from); i >= 0 && i < to; i = text.indexOf('\n', i + 1)) lines++;
  return lines;
}

/** Line and column of a place behind `from`, which stands at the start of `line`. */
function placeOf(text: string, from: number, line: number, at: number): [number, number] {
  const lastEnd = text.lastIndexOf('\n', at - 1);
  return [line + countLines(text, from, at), at - Math.max(lastEnd + 1, from) + 1];
}
