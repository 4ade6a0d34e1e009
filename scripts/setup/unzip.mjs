/** Zip archives in plain Node: the central directory (zip64 too), stored and deflated entries, CRCs; hostile names are refused. */
import {
  closeSync,
  createReadStream,
  createWriteStream,
  fstatSync,
  mkdirSync,
  openSync,
  readSync,
  writeFileSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { crc32, createInflateRaw, inflateRawSync } from 'node:zlib';
import { diskFull, isDiskFull, SetupFailure } from './failure.mjs';

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const END64_LOCATOR = 0x07064b50;
const END64 = 0x06064b50;
const FULL_32 = 0xffffffff;
const LARGE = 8 << 20;

/** Unpacks the entries whose name `accept` takes into `folder`; returns their number. Any fault is a SetupFailure. */
export async function unzip(archive, folder, { accept = () => true } = {}) {
  const file = openSync(archive, 'r');
  const stop = new AbortController();
  let streamed = Promise.resolve();
  try {
    const entries = readDirectory(file, archive);
    for (const entry of entries) refuseHostile(entry, archive);
    const chosen = entries.filter((entry) => !entry.name.endsWith('/') && accept(entry.name));
    const large = chosen.filter((entry) => entry.packed > LARGE);
    streamed = Promise.all(large.map((entry) => extractLarge(file, archive, entry, folder, stop.signal)));
    streamed.catch(() => {});
    const made = new Set();
    let turn = 0;
    for (const entry of chosen) {
      if (entry.packed > LARGE) continue;
      extractSmall(file, archive, entry, folder, made);
      if (++turn % 64 === 0) await new Promise(setImmediate);
    }
    await streamed;
    return chosen.length;
  } catch (error) {
    stop.abort();
    await streamed.catch(() => {});
    if (isDiskFull(error)) throw diskFull(folder);
    throw error;
  } finally {
    closeSync(file);
  }
}

function damaged(archive, what) {
  return new SetupFailure(
    `${basename(archive)} is damaged (${what}): delete it and run again to fetch it anew.`,
  );
}

function readAt(file, archive, position, length) {
  const bytes = Buffer.alloc(length);
  const got = position < 0 ? 0 : readSync(file, bytes, 0, length, position);
  if (got !== length) throw damaged(archive, 'it ends too early');
  return bytes;
}

function readDirectory(file, archive) {
  const { size, offset, count } = findDirectory(file, archive);
  const bytes = readAt(file, archive, offset, size);
  const entries = [];
  for (let at = 0; entries.length < count; ) {
    if (at + 46 > size || bytes.readUInt32LE(at) !== CENTRAL)
      throw damaged(archive, 'its directory is broken');
    const nameLength = bytes.readUInt16LE(at + 28);
    const extraLength = bytes.readUInt16LE(at + 30);
    const extra = bytes.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    entries.push({
      name: bytes.toString('utf8', at + 46, at + 46 + nameLength),
      method: bytes.readUInt16LE(at + 10),
      crc: bytes.readUInt32LE(at + 16),
      mode: bytes.readUInt32LE(at + 38) >>> 16,
      ...wideSizes(
        extra,
        bytes.readUInt32LE(at + 20),
        bytes.readUInt32LE(at + 24),
        bytes.readUInt32LE(at + 42),
      ),
    });
    at += 46 + nameLength + extraLength + bytes.readUInt16LE(at + 32);
  }
  return entries;
}

function findDirectory(file, archive) {
  const total = fstatSync(file).size;
  const tailLength = Math.min(total, 22 + 0xffff);
  const tail = readAt(file, archive, total - tailLength, tailLength);
  let at = tailLength - 22;
  while (at >= 0 && tail.readUInt32LE(at) !== END) at--;
  if (at < 0) throw damaged(archive, 'it is no whole zip file');
  const near = {
    count: tail.readUInt16LE(at + 10),
    size: tail.readUInt32LE(at + 12),
    offset: tail.readUInt32LE(at + 16),
  };
  if (near.count !== 0xffff && near.size !== FULL_32 && near.offset !== FULL_32) return near;
  if (at < 20 || tail.readUInt32LE(at - 20) !== END64_LOCATOR) return near;
  const end = readAt(file, archive, Number(tail.readBigUInt64LE(at - 20 + 8)), 56);
  if (end.readUInt32LE(0) !== END64) throw damaged(archive, 'its zip64 directory is broken');
  return {
    count: Number(end.readBigUInt64LE(32)),
    size: Number(end.readBigUInt64LE(40)),
    offset: Number(end.readBigUInt64LE(48)),
  };
}

/* The zip64 extra field holds, in this order, only those of size, packed size and offset that did not fit 32 bits. */
function wideSizes(extra, packed, size, offset) {
  const sizes = { packed, size, offset };
  for (let at = 0; at + 4 <= extra.length; at += 4 + extra.readUInt16LE(at + 2)) {
    if (extra.readUInt16LE(at) !== 1) continue;
    let from = at + 4;
    for (const key of ['size', 'packed', 'offset']) {
      if (sizes[key] !== FULL_32 || from + 8 > extra.length) continue;
      sizes[key] = Number(extra.readBigUInt64LE(from));
      from += 8;
    }
  }
  return sizes;
}

function refuseHostile({ name, mode }, archive) {
  const outside = name.startsWith('/') || name.includes('\\') || name.includes('\0') || /^[a-z]:/i.test(name);
  const link = (mode & 0o170000) === 0o120000;
  if (outside || link || name.split('/').includes('..')) {
    throw new SetupFailure(
      `${basename(archive)} holds an entry that points outside its folder ("${name}") and was refused: delete it and do not trust where it came from.`,
    );
  }
}

function dataStart(file, archive, entry) {
  const header = readAt(file, archive, entry.offset, 30);
  if (header.readUInt32LE(0) !== LOCAL) throw damaged(archive, `${entry.name} is not where it should be`);
  if (entry.method !== 0 && entry.method !== 8)
    throw damaged(archive, `${entry.name} has unknown compression`);
  return entry.offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
}

function extractSmall(file, archive, entry, folder, made) {
  const packed = readAt(file, archive, dataStart(file, archive, entry), entry.packed);
  const bytes = entry.method === 0 ? packed : inflate(packed, archive, entry);
  check(archive, entry, bytes.length, crc32(bytes));
  const path = join(folder, entry.name);
  const parent = dirname(path);
  if (!made.has(parent)) mkdirSync(parent, { recursive: true });
  made.add(parent);
  writeFileSync(path, bytes);
}

function inflate(packed, archive, entry) {
  try {
    return inflateRawSync(packed, { maxOutputLength: Math.max(entry.size, 1) });
  } catch {
    throw damaged(archive, `${entry.name} does not unpack`);
  }
}

async function extractLarge(file, archive, entry, folder, signal) {
  const path = join(folder, entry.name);
  const start = dataStart(file, archive, entry);
  mkdirSync(dirname(path), { recursive: true });
  let crc = 0;
  let size = 0;
  const count = new Transform({
    transform(chunk, _encoding, next) {
      crc = crc32(chunk, crc);
      size += chunk.length;
      next(size > entry.size ? damaged(archive, `${entry.name} is longer than declared`) : null, chunk);
    },
  });
  const options = { start, end: start + entry.packed - 1, highWaterMark: 1 << 20 };
  const middle = entry.method === 0 ? [] : [createInflateRaw({ chunkSize: 1 << 20 })];
  try {
    await pipeline(createReadStream(archive, options), ...middle, count, createWriteStream(path), { signal });
  } catch (error) {
    if (error.code?.startsWith('Z_')) throw damaged(archive, `${entry.name} does not unpack`);
    throw error;
  }
  check(archive, entry, size, crc);
}

function check(archive, entry, size, crc) {
  if (size !== entry.size)
    throw damaged(archive, `${entry.name} has ${size} bytes in place of ${entry.size}`);
  if (crc !== entry.crc) throw damaged(archive, `${entry.name} has a wrong CRC`);
}
