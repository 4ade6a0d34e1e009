/** Owns files of one JSON value a line: appending, reading, cutting back. Knows nothing of what the lines mean. */

import {
  closeSync,
  existsSync,
  fstatSync,
  fsyncSync,
  ftruncateSync,
  openSync,
  readSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import * as z from 'zod';
import { messageOf, ReckonError } from './errors.ts';

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
  options: ReadJsonlOptions = {},
): T[] {
  return [...eachJsonl(path, parse, options)];
}

/** {@link readJsonl} one value at a time, for files that need not fit into memory. */
export function* eachJsonl<T>(
  path: string,
  parse: (value: unknown) => T,
  options: ReadJsonlOptions = {},
): Generator<T> {
  for (const { number, value } of jsonlLines(path, options)) {
    let parsed: T;
    try {
      parsed = parse(value);
    } catch (thrown) {
      const message = `${path}:${number}: ${explain(thrown)}; correct or remove the line`;
      throw new ReckonError('data', 'jsonl-bad-line', message, { cause: thrown });
    }
    yield parsed;
  }
}

/** A schema's complaint in one line: the first of its issues, with the key. */
function explain(thrown: unknown): string {
  if (!(thrown instanceof z.ZodError)) return messageOf(thrown);
  const { path, message } = thrown.issues[0]!;
  return path.length === 0 ? message : `${path.join('.')}: ${message}`;
}

/**
 * Cuts the file off before the first line whose `step` is beyond `step`, in one operation; a torn last line goes too. Steps
 * must not fall from line to line. Returns how many whole lines were cut; a missing file has none. A line without a number
 * `step` is an error, and nothing is cut.
 */
export function truncateJsonl(path: string, step: number): number {
  if (!existsSync(path)) return 0;
  mendTail(path);
  let kept = 0;
  let cut = 0;
  for (const line of jsonlLines(path)) {
    if (stepOf(path, line) > step || cut > 0) cut++;
    else kept = line.end;
  }
  if (cut > 0) truncateSync(path, kept);
  return cut;
}

/** A line that is not empty. */
export interface JsonlLine {
  /** From 1. */
  readonly number: number;
  readonly value: unknown;
  /** The byte behind its newline. */
  readonly end: number;
}

/** The lines of a file one by one, however large it is; what is no JSON is what {@link readJsonl} says. */
export function* jsonlLines(
  path: string,
  { torn = 'left-out' }: ReadJsonlOptions = {},
): Generator<JsonlLine> {
  let number = 0;
  let end = 0;
  for (const bytes of bytesOfLines(path)) {
    number++;
    end += bytes.length;
    // This takes the byte-order mark too that editors put before the first line.
    const text = bytes.toString('utf8').trim();
    if (text === '') continue;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch (thrown) {
      if (bytes.at(-1) !== NEWLINE && torn === 'left-out') return;
      throw badLine(path, number, messageOf(thrown), thrown);
    }
    yield { number, value, end };
  }
}

const NEWLINE = 0x0a;
/** Bytes that are read at once. */
const CHUNK = 1 << 16;

/** Every line with its newline; the last one perhaps without. */
function* bytesOfLines(path: string): Generator<Buffer> {
  const file = readable(path, () => openSync(path, 'r'));
  try {
    let begun: Buffer[] = [];
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK);
      const read = chunk.subarray(
        0,
        readable(path, () => readSync(file, chunk, 0, CHUNK, null)),
      );
      let start = 0;
      for (let newline = read.indexOf(NEWLINE); newline >= 0; newline = read.indexOf(NEWLINE, start)) {
        const line = read.subarray(start, newline + 1);
        // Most lines lie in one chunk, which is read into once and never again: they need no copy.
        yield begun.length === 0 ? line : Buffer.concat([...begun, line]);
        begun = [];
        start = newline + 1;
      }
      if (start < read.length) begun.push(read.subarray(start));
      if (read.length > 0) continue;
      if (begun.length > 0) yield Buffer.concat(begun);
      return;
    }
  } finally {
    closeSync(file);
  }
}

function readable<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (thrown) {
    throw new ReckonError('data', 'jsonl-unreadable', `Cannot read ${path}: ${messageOf(thrown)}`, {
      cause: thrown,
    });
  }
}

function stepOf(path: string, { number, value }: JsonlLine): number {
  const step = typeof value === 'object' && value !== null && 'step' in value ? value.step : undefined;
  if (typeof step === 'number') return step;
  throw badLine(path, number, 'it has no number "step" to cut back by');
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
    const { size } = fstatSync(file);
    const start = lastLineStart(file, size);
    if (start === size) return;
    const last = Buffer.alloc(size - start);
    readSync(file, last, 0, last.length, start);
    if (isJson(last.toString('utf8'))) writeSync(file, '\n', size);
    else ftruncateSync(file, start);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** The byte behind the last newline. */
function lastLineStart(file: number, size: number): number {
  const chunk = Buffer.allocUnsafe(CHUNK);
  for (let end = size; end > 0; end -= Math.min(end, CHUNK)) {
    const start = Math.max(0, end - CHUNK);
    const newline = chunk.subarray(0, readSync(file, chunk, 0, end - start, start)).lastIndexOf(NEWLINE);
    if (newline >= 0) return start + newline + 1;
  }
  return 0;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
