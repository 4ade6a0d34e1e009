/** Owns files of one JSON value a line: appending, reading, cutting back. Knows nothing of what the lines mean. */

import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readFileSync,
  readSync,
  writeSync,
} from 'node:fs';
import * as z from 'zod';
import { messageOf, ReckonError } from './errors.ts';
import { writeFileAtomic } from './files.ts';

/** What is written for a number that JSON has no word for. */
export type JsonNumber = number | 'NaN' | 'Infinity' | '-Infinity';

/** A number as JSON can hold it: NaN and infinities become strings, so that they are neither lost nor taken for null. */
export function numberToJson(value: number): JsonNumber {
  if (Number.isFinite(value)) return value;
  return Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';
}

/** The number that {@link numberToJson} wrote, or undefined where `value` is not one. */
export function numberFromJson(value: unknown): number | undefined {
  if (typeof value === 'number') return value;
  return value === 'NaN' || value === 'Infinity' || value === '-Infinity' ? Number(value) : undefined;
}

/** Options of {@link readJsonl}. */
export interface ReadJsonlOptions {
  /** What a last line without a newline is that is no JSON: left out by default, as a killed writer leaves it. */
  readonly torn?: 'left-out' | 'refused';
}

/** Options of {@link JsonlWriter}. */
export interface JsonlOptions {
  /** Waits after each append until the lines are on the disk. Off by default. */
  readonly fsync?: boolean;
}

/** Appends lines to a file, made when missing. A last line torn by a killed process is cut off first. */
export class JsonlWriter implements Disposable {
  readonly path: string;
  private readonly fsync: boolean;
  private file: number | undefined;

  constructor(path: string, options: JsonlOptions = {}) {
    this.path = path;
    this.fsync = options.fsync ?? false;
    mendTail(path);
    this.file = openSync(path, 'a');
  }

  /** Appends each value as one line, all in one write. */
  append(...values: readonly unknown[]): void {
    if (this.file === undefined) {
      throw new ReckonError(
        'internal',
        'jsonl-closed',
        `${this.path} is closed; open a new writer to append to it`,
      );
    }
    if (values.length === 0) return;
    writeAll(this.file, values.map(toLine).join(''));
    if (this.fsync) fsyncSync(this.file);
  }

  /** Waits until the lines are on the disk. */
  sync(): void {
    if (this.file !== undefined) fsyncSync(this.file);
  }

  /** Syncs and closes the file; a second call does nothing. */
  close(): void {
    if (this.file === undefined) return;
    fsyncSync(this.file);
    closeSync(this.file);
    this.file = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Appends values to a file, one line each. For many appends in a row keep a {@link JsonlWriter}. */
export function appendJsonl(path: string, values: readonly unknown[], options: JsonlOptions = {}): void {
  mendTail(path);
  const file = openSync(path, 'a');
  try {
    writeAll(file, values.map(toLine).join(''));
    if (options.fsync ?? false) fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/**
 * The file's values in order, each through `parse` (a zod schema's `parse` fits). A last line without a newline that
 * is no JSON is a torn write; any other bad line is an error that names file and line.
 */
export function readJsonl<T>(
  path: string,
  parse: (value: unknown) => T,
  { torn = 'left-out' }: ReadJsonlOptions = {},
): T[] {
  return readLines(path, torn).map(({ number, value }) => {
    try {
      return parse(value);
    } catch (thrown) {
      const message = `${path}:${number}: ${explain(thrown)}; correct or remove the line`;
      throw new ReckonError('data', 'jsonl-bad-line', message, { cause: thrown });
    }
  });
}

/** A schema's complaint in one line: the first of its issues, with the key. */
function explain(thrown: unknown): string {
  if (!(thrown instanceof z.ZodError)) return messageOf(thrown);
  const { path, message } = thrown.issues[0]!;
  return path.length === 0 ? message : `${path.join('.')}: ${message}`;
}

/**
 * Rewrites the file with only the lines whose `step` is at most `step`, in one rename; a torn last line goes too.
 * Returns how many whole lines were cut; a missing file has none. A line without a number `step` is an error.
 */
export function truncateJsonl(path: string, step: number): number {
  if (!existsSync(path)) return 0;
  const lines = readLines(path);
  const kept = lines.filter((line) => stepOf(path, line) <= step);
  writeFileAtomic(path, kept.map((line) => `${line.text}\n`).join(''));
  return lines.length - kept.length;
}

interface Line {
  readonly number: number;
  readonly text: string;
  readonly value: unknown;
}

function readLines(path: string, torn: 'left-out' | 'refused' = 'left-out'): Line[] {
  const texts = readText(path).split('\n');
  const tail = texts.length - 1;
  const lines: Line[] = [];
  for (const [index, text] of texts.entries()) {
    if (text.trim() === '') continue;
    try {
      lines.push({ number: index + 1, text, value: JSON.parse(text) });
    } catch (thrown) {
      if (index === tail && torn === 'left-out') break;
      throw badLine(path, index + 1, messageOf(thrown), thrown);
    }
  }
  return lines;
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    throw new ReckonError('data', 'jsonl-unreadable', `Cannot read ${path}: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}

function stepOf(path: string, line: Line): number {
  const value = line.value;
  const step = typeof value === 'object' && value !== null && 'step' in value ? value.step : undefined;
  if (typeof step === 'number') return step;
  throw badLine(path, line.number, 'it has no number "step" to cut back by');
}

function badLine(path: string, number: number, why: string, cause?: unknown): ReckonError {
  const message = `${path}:${number}: expected one valid JSON value, found: ${why}. Correct or remove the line.`;
  return new ReckonError('data', 'jsonl-bad-line', message, { cause });
}

function toLine(value: unknown): string {
  const text = JSON.stringify(value);
  if (text !== undefined) return `${text}\n`;
  throw new ReckonError(
    'internal',
    'jsonl-no-value',
    `A ${typeof value} cannot be written as a line of JSON`,
  );
}

function writeAll(file: number, text: string): void {
  const bytes = Buffer.from(text, 'utf8');
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done);
}

/** Leaves the file ending in a newline: a whole last line gets its own, a torn one is cut off. */
function mendTail(path: string): void {
  if (!existsSync(path)) return;
  const file = openSync(path, 'r+');
  try {
    const size = fstatSync(file).size;
    const last = Buffer.alloc(1);
    if (size === 0 || (readSync(file, last, 0, 1, size - 1) === 1 && last[0] === 0x0a)) return;
    const bytes = readFileSync(path);
    const start = bytes.lastIndexOf(0x0a) + 1;
    if (isJson(bytes.toString('utf8', start))) writeSync(file, '\n', size);
    else ftruncateSync(file, start);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
