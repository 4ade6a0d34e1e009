/** Owns rows from JSON Lines and from JSON files: a list of objects, one object, or columns. Knows no problem. */

import { itemSpans, jsonErrorAt, type Span, skipSpace } from './json-scan.ts';
import type { BadRows, DataRow } from './rows.ts';

/** The rows of JSON Lines: one object a line; empty lines are left out. */
export function parseJsonLines(text: string, file: string, bad: BadRows): DataRow[] {
  const rows: DataRow[] = [];
  let line = 0;
  for (const raw of lines(text)) {
    line++;
    if (raw.trim() !== '') pushRow(rows, raw, { file, line, offset: 1 }, bad);
  }
  return rows;
}

/**
 * The rows of a JSON file: a list of objects, or an object whose only list of objects they are (as in
 * `{"version": 1, "data": [...]}`), or one object, which is one row.
 */
export function parseJson(text: string, file: string, bad: BadRows): DataRow[] {
  const start = skipSpace(text, text.startsWith('\ufeff') ? 1 : 0);
  const whole = text.slice(start);
  const rows: DataRow[] = [];
  const places = new Places(text, file);
  if (text[start] === '[') {
    const before = bad.found.length;
    for (const span of itemSpans(text, start + 1)) {
      pushRow(rows, text.slice(span.start, span.end), places.at(span.start), bad);
    }
    // Items are read one by one, so what is wrong between or behind them shows only in the whole.
    const error = bad.found.length === before ? jsonErrorAt(whole) : null;
    if (error !== null) {
      const { line, offset } = new Places(text, file).at(start + error);
      bad.add({ file, line, column: offset, message: notJson(whole, error) });
    }
    return rows;
  }
  const inner = listInside(whole);
  if (inner !== null) {
    for (const span of itemSpans(text, start + inner)) {
      pushRow(rows, text.slice(span.start, span.end), places.at(span.start), bad);
    }
    return rows;
  }
  if (whole.trim() !== '') pushRow(rows, whole, places.at(start), bad);
  return rows;
}

interface Place {
  readonly file: string;
  readonly line: number;
  /** The character of the line on which the text begins, from 1. */
  readonly offset: number;
}

function pushRow(rows: DataRow[], text: string, place: Place, bad: BadRows): void {
  const { file, line, offset } = place;
  let values: unknown;
  try {
    values = JSON.parse(text);
  } catch {
    const at = jsonErrorAt(text) ?? 0;
    const before = text.slice(0, at).split('\n');
    const column = before.length === 1 ? offset + at : before.at(-1)!.length + 1;
    bad.add({ file, line: line + before.length - 1, column, message: notJson(text, at) });
    return;
  }
  if (typeof values === 'object' && values !== null && !Array.isArray(values)) {
    rows.push({ values: values as Record<string, unknown>, file, line });
    return;
  }
  const found = Array.isArray(values) ? 'a list' : values === null ? 'null' : `a ${typeof values}`;
  bad.add({ file, line, column: offset, message: `expected an object with a key a column, found ${found}` });
}

function notJson(text: string, at: number): string {
  const rest = text.slice(at, at + 20).split('\n')[0]!;
  const found = at >= text.length ? 'the end' : JSON.stringify(rest);
  return `expected valid JSON, found ${found}`;
}

/** Where the only list of objects of an object begins (behind its bracket); null where there is none, or several. */
function listInside(text: string): number | null {
  if (jsonErrorAt(text) !== null) return null;
  const value = JSON.parse(text) as unknown;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  const lists = Object.entries(value).filter(
    ([, one]) =>
      Array.isArray(one) && one.length > 0 && one.every((item) => typeof item === 'object' && item !== null),
  );
  // Conversations are a row's own list, not a list of rows.
  if (lists.length !== 1 || lists[0]![0] === 'messages' || lists[0]![0] === 'conversations') return null;
  const members: Span[] = itemSpans(text, text.indexOf('{') + 1);
  for (const { start, end } of members) {
    const colon = keyColon(text, start, end);
    if (JSON.parse(text.slice(start, colon)) === lists[0]![0]) return text.indexOf('[', colon) + 1;
  }
  return null;
}

function keyColon(text: string, start: number, end: number): number {
  for (let i = start + 1; i < end; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"') return text.indexOf(':', i);
  }
  return end;
}

function* lines(text: string): Generator<string> {
  let start = text.startsWith('\ufeff') ? 1 : 0;
  while (start < text.length) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    yield text.slice(start, text[end - 1] === '\r' ? end - 1 : end);
    start = end + 1;
  }
}

/** Lines and columns of rising positions, counted once. */
class Places {
  private readonly text: string;
  private readonly file: string;
  private line = 1;
  private lineStart = 0;

  constructor(text: string, file: string) {
    this.text = text;
    this.file = file;
  }

  at(position: number): Place {
    for (;;) {
      const end = this.text.indexOf('\n', this.lineStart);
      if (end < 0 || end >= position) break;
      this.line++;
      this.lineStart = end + 1;
    }
    return { file: this.file, line: this.line, offset: position - this.lineStart + 1 };
  }
}
