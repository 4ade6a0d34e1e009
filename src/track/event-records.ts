/** Owns the bytes of a TensorBoard event file: records with checksums, and the few protobuf messages in them. Opens no file. */

import { ReckonError } from '../util/errors.ts';
import { maskedCrc32c } from './crc32c.ts';

/** One event: scalars of a step, or the version with which a file begins. */
export interface TrackEvent {
  /** Seconds since 1970. */
  readonly wallTime: number;
  readonly step: number;
  readonly fileVersion?: string | undefined;
  readonly scalars: Readonly<Record<string, number>>;
}

/** The record of an event: length, its checksum, data, its checksum, all little-endian. */
export function eventRecord(event: TrackEvent): Buffer {
  const data = encodeEvent(event);
  const record = Buffer.alloc(12 + data.length + 4);
  record.writeBigUInt64LE(BigInt(data.length), 0);
  record.writeUInt32LE(maskedCrc32c(record.subarray(0, 8)), 8);
  data.copy(record, 12);
  record.writeUInt32LE(maskedCrc32c(data), 12 + data.length);
  return record;
}

/** The events of a file; a checksum that does not fit, or an end in the midst of a record, is an error. */
export function readEvents(bytes: Buffer): TrackEvent[] {
  const events: TrackEvent[] = [];
  for (let at = 0; at < bytes.length; ) {
    const length = at + 12 <= bytes.length ? Number(bytes.readBigUInt64LE(at)) : Number.POSITIVE_INFINITY;
    const end = at + 12 + length;
    if (end + 4 > bytes.length) throw damaged(`a record ends behind the file at byte ${at}`);
    const data = bytes.subarray(at + 12, end);
    const good =
      bytes.readUInt32LE(at + 8) === maskedCrc32c(bytes.subarray(at, at + 8)) &&
      bytes.readUInt32LE(end) === maskedCrc32c(data);
    if (!good) throw damaged(`a checksum does not fit at byte ${at}`);
    events.push(decodeEvent(data));
    at = end + 4;
  }
  return events;
}

/** Field numbers of `Event`, `Summary` and `Summary.Value` in tensorboard/compat/proto. */
const EVENT = { wallTime: 1, step: 2, fileVersion: 3, summary: 5 } as const;
const SUMMARY_VALUE = 1;
const VALUE = { tag: 1, simple: 2 } as const;

function encodeEvent({ wallTime, step, fileVersion, scalars }: TrackEvent): Buffer {
  const time = Buffer.alloc(8);
  time.writeDoubleLE(wallTime);
  const parts = [tagOf(EVENT.wallTime, 1), time, tagOf(EVENT.step, 0), varint(step)];
  if (fileVersion !== undefined) parts.push(block(EVENT.fileVersion, Buffer.from(fileVersion)));
  const values = Object.entries(scalars).map(([name, value]) =>
    block(SUMMARY_VALUE, encodeValue(name, value)),
  );
  if (values.length > 0) parts.push(block(EVENT.summary, Buffer.concat(values)));
  return Buffer.concat(parts);
}

function encodeValue(name: string, value: number): Buffer {
  const simple = Buffer.alloc(4);
  simple.writeFloatLE(value);
  return Buffer.concat([block(VALUE.tag, Buffer.from(name)), tagOf(VALUE.simple, 5), simple]);
}

function block(field: number, content: Buffer): Buffer {
  return Buffer.concat([tagOf(field, 2), varint(content.length), content]);
}

function tagOf(field: number, wireType: number): Buffer {
  return varint((field << 3) | wireType);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

interface Field {
  readonly number: number;
  /** Varints as numbers, fixed numbers and blocks as bytes. */
  readonly value: number | Buffer;
}

/** The fields of a message, in order. */
function fieldsOf(bytes: Buffer): Field[] {
  const fields: Field[] = [];
  let at = 0;
  const readVarint = (): number => {
    let value = 0;
    for (let scale = 1; at < bytes.length; scale *= 0x80) {
      const byte = bytes[at++]!;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw damaged('a number has no end');
  };
  while (at < bytes.length) {
    const key = readVarint();
    const type = key & 7;
    if (type === 0) {
      fields.push({ number: key >>> 3, value: readVarint() });
      continue;
    }
    const size = type === 1 ? 8 : type === 5 ? 4 : readVarint();
    if (at + size > bytes.length) throw damaged('a field ends behind its message');
    fields.push({ number: key >>> 3, value: bytes.subarray(at, at + size) });
    at += size;
  }
  return fields;
}

function decodeEvent(bytes: Buffer): TrackEvent {
  const fields = fieldsOf(bytes);
  const find = (number: number): Field['value'] | undefined =>
    fields.find((field) => field.number === number)?.value;
  const time = find(EVENT.wallTime);
  const version = find(EVENT.fileVersion);
  const summary = find(EVENT.summary);
  return {
    wallTime: Buffer.isBuffer(time) ? time.readDoubleLE() : 0,
    step: Number(find(EVENT.step) ?? 0),
    ...(Buffer.isBuffer(version) ? { fileVersion: version.toString() } : {}),
    scalars: Object.fromEntries(Buffer.isBuffer(summary) ? fieldsOf(summary).map(decodeValue) : []),
  };
}

function decodeValue({ value }: Field): [string, number] {
  const fields = Buffer.isBuffer(value) ? fieldsOf(value) : [];
  const name = fields.find((field) => field.number === VALUE.tag)?.value ?? '';
  const simple = fields.find((field) => field.number === VALUE.simple)?.value;
  return [name.toString(), Buffer.isBuffer(simple) ? simple.readFloatLE() : Number.NaN];
}

function damaged(what: string): ReckonError {
  return new ReckonError(
    'data',
    'event-file-damaged',
    `this is no whole event file: ${what}; export it again`,
  );
}
