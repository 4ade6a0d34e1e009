/**
 * Owns a bounded cache of a teacher's soft values by token prefix, on disk so that a later process has it. Knows no model:
 * it is told which teacher the numbers are of.
 */

import { createHash } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { ReckonError } from '../../util/errors.ts';
import { writeFileAtomic } from '../../util/files.ts';
import { EvictionOrder, type EvictionPolicy } from './eviction.ts';
import type { SoftValues } from './soft-bellman.ts';
import { emptyValues, softValueNames } from './teacher-scores.ts';

export interface ScoreCacheOptions {
  /** Names the teacher by its content; scores of another teacher or alpha are never found. */
  readonly teacher: string;
  readonly alpha: number;
  /** Bytes of keys and numbers, in memory and (up to twice as many) on disk; 52 a token. */
  readonly maxBytes: number;
  readonly eviction: EvictionPolicy;
  /**
   * A file of `snapshot` that it begins with in place of its own, or null to begin empty: a resumed run finds, keeps and
   * drops what it would have without the interruption. By default it begins with what its file holds.
   */
  readonly restore?: string | null;
}

/** Counts since the cache was opened, and its size now. */
export interface ScoreCacheCounts {
  readonly asked: number;
  readonly found: number;
  readonly evicted: number;
  readonly bytes: number;
  readonly fileBytes: number;
}

const header = Buffer.from('reckon scores 2\n');
const keyBytes = 16;
const usesAt = keyBytes + 8 * softValueNames.length;
const entryBytes = usesAt + 4;
/** Number of entries and checksum before the entries of a record. */
const recordHead = 8;

/**
 * A token's numbers are found by a hash of all ids up to it, so completions share what their beginnings share. One record
 * a stored completion is appended with its checksum; a tail that was cut off by a crash is dropped at the next opening.
 * One process at a time.
 */
export class ScoreCache implements Disposable {
  private readonly path: string;
  private readonly root: Buffer;
  private readonly capacity: number;
  private readonly entries = new Map<string, Float64Array>();
  private readonly order: EvictionOrder;
  private file: number;
  private fileBytes = header.length;
  private asked = 0;
  private found = 0;
  private evicted = 0;

  /** Opens or makes the file; throws `bad-score-cache` for one of another kind. */
  constructor(path: string, options: ScoreCacheOptions) {
    const { teacher, alpha, maxBytes, eviction, restore } = options;
    this.path = path;
    this.root = digest(Buffer.from(JSON.stringify([teacher, alpha])), null);
    this.capacity = Math.floor(maxBytes / entryBytes);
    this.order = new EvictionOrder(eviction);
    if (restore !== undefined) writeFileAtomic(path, restore === null ? header : readFileSync(restore));
    if (existsSync(path)) this.load();
    else writeFileAtomic(path, header);
    this.evicted = 0;
    this.file = openSync(path, 'a');
  }

  /** The values of a completion's tokens up to the first that is not known. */
  find(promptIds: readonly number[], completionIds: readonly number[]): SoftValues {
    const keys = this.keysOf(promptIds, completionIds);
    const missing = keys.findIndex((key) => !this.entries.has(key));
    const known = missing < 0 ? keys : keys.slice(0, missing);
    this.asked += keys.length;
    this.found += known.length;
    const values = emptyValues(known.length);
    known.forEach((key, t) => {
      const entry = this.entries.get(key)!;
      for (const [i, name] of softValueNames.entries()) values[name][t] = entry[i]!;
    });
    // The beginning is used last, so that it is kept longest: without it the rest cannot be found.
    for (const key of known.reverse()) this.order.use(key);
    return values;
  }

  /** Keeps the values of a completion's tokens; what is known already stays as it is. */
  store(promptIds: readonly number[], completionIds: readonly number[], values: SoftValues): void {
    const keys = this.keysOf(promptIds, completionIds);
    const fresh = [...keys.keys()].filter((t) => !this.entries.has(keys[t]!)).reverse();
    if (fresh.length === 0) return;
    const added = fresh.map((t) => ({
      key: keys[t]!,
      numbers: Float64Array.from(softValueNames, (name) => values[name][t]!),
      uses: 0,
    }));
    for (const entry of added) this.put(entry);
    const record = recordOf(added);
    writeSync(this.file, record);
    this.fileBytes += record.length;
    if (this.fileBytes > header.length + 2 * this.capacity * entryBytes + 4096) this.compact();
  }

  /** What was asked and found, and how large it is. */
  counts(): ScoreCacheCounts {
    const { asked, found, evicted, fileBytes } = this;
    return { asked, found, evicted, bytes: this.entries.size * entryBytes, fileBytes };
  }

  /** Writes all that is kept, in the order in which it would be dropped, for `restore`. */
  snapshot(path: string): void {
    writeFileAtomic(path, this.image());
  }

  /** Waits until all that was stored is on the disk. */
  sync(): void {
    fsyncSync(this.file);
  }

  private put({ key, numbers, uses }: Entry): void {
    this.entries.set(key, numbers);
    this.order.add(key, uses);
    while (this.entries.size > this.capacity) {
      this.entries.delete(this.order.evict());
      this.evicted++;
    }
  }

  /** Each token's key is a hash of the key before it and its id. */
  private keysOf(promptIds: readonly number[], completionIds: readonly number[]): string[] {
    let state = this.root;
    for (const id of promptIds) state = digest(state, id);
    return completionIds.map((id) => {
      state = digest(state, id);
      return state.toString('latin1');
    });
  }

  private load(): void {
    const bytes = readFileSync(this.path);
    if (!bytes.subarray(0, header.length).equals(header)) {
      const message = `${this.path} is no cache of scores that this version reads; move it away`;
      throw new ReckonError('data', 'bad-score-cache', message);
    }
    let end = header.length;
    for (let next = this.read(bytes, end); next !== null; next = this.read(bytes, end)) end = next;
    if (end < bytes.length) truncateSync(this.path, end);
    this.fileBytes = end;
  }

  /** Takes in the record at `start`; where it ends, or null where none is whole. */
  private read(bytes: Buffer, start: number): number | null {
    if (start + recordHead > bytes.length) return null;
    const count = bytes.readUInt32LE(start);
    const end = start + recordHead + count * entryBytes;
    if (count === 0 || end > bytes.length) return null;
    const body = bytes.subarray(start + recordHead, end);
    if (crc32(body) !== bytes.readUInt32LE(start + 4)) return null;
    for (let at = 0; at < body.length; at += entryBytes) {
      const key = body.toString('latin1', at, at + keyBytes);
      const numbers = Float64Array.from(softValueNames, (_, i) => body.readDoubleLE(at + keyBytes + 8 * i));
      if (!this.entries.has(key)) this.put({ key, numbers, uses: body.readUInt32LE(at + usesAt) });
    }
    return end;
  }

  /** Rewrites the file with what is still kept. */
  private compact(): void {
    closeSync(this.file);
    const whole = this.image();
    writeFileAtomic(this.path, whole);
    this.fileBytes = whole.length;
    this.file = openSync(this.path, 'a');
  }

  private image(): Buffer {
    const kept = [...this.order.entries()].map(([key, uses]) => ({
      key,
      numbers: this.entries.get(key)!,
      uses,
    }));
    return Buffer.concat([header, ...(kept.length > 0 ? [recordOf(kept)] : [])]);
  }

  [Symbol.dispose](): void {
    closeSync(this.file);
  }
}

interface Entry {
  readonly key: string;
  readonly numbers: Float64Array;
  readonly uses: number;
}

function recordOf(entries: readonly Entry[]): Buffer {
  const record = Buffer.alloc(recordHead + entries.length * entryBytes);
  entries.forEach(({ key, numbers, uses }, i) => {
    const at = recordHead + i * entryBytes;
    record.write(key, at, 'latin1');
    for (const [j, value] of numbers.entries()) record.writeDoubleLE(value, at + keyBytes + 8 * j);
    record.writeUInt32LE(uses, at + usesAt);
  });
  record.writeUInt32LE(entries.length, 0);
  record.writeUInt32LE(crc32(record.subarray(recordHead)), 4);
  return record;
}

/** 16 bytes of SHA-256. */
function digest(before: Buffer, id: number | null): Buffer {
  const hash = createHash('sha256').update(before);
  if (id !== null) {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(id);
    hash.update(bytes);
  }
  return hash.digest().subarray(0, keyBytes);
}
