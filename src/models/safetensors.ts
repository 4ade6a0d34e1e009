/** Owns reading and writing of the safetensors format; checks every offset before it reads. Knows no model. */

import { closeSync, fstatSync, fsyncSync, openSync, readSync, renameSync, rmSync, writeSync } from 'node:fs';
import {
  type DType,
  dtypeBytes,
  dtypeCode,
  fromBytes,
  invoke,
  isFloating,
  noGrad,
  Op,
  scope,
  type Tensor,
  zeros,
} from '../torch/index.ts';
import { messageOf, ReckonError } from '../util/errors.ts';

const fromFile: ReadonlyMap<string, DType> = new Map<string, DType>([
  ['F64', 'f64'],
  ['F32', 'f32'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
  ['I64', 'i64'],
  ['I32', 'i32'],
  ['I16', 'i16'],
  ['I8', 'i8'],
  ['U8', 'u8'],
  ['BOOL', 'bool'],
]);
const toFile = new Map([...fromFile].map(([file, dtype]) => [dtype, file]));
const fromFileOp = new Op('aten::from_file');
const viewAsOp = new Op('aten::view', 'dtype');
const largestHeader = 100_000_000;

interface Entry {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** Writes tensors in the given order and syncs the file; metadata values must be strings. */
export function writeSafetensors(
  path: string,
  tensors: ReadonlyMap<string, Tensor>,
  metadata: Readonly<Record<string, string>> = { format: 'pt' },
): void {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const [name, value] of tensors) {
    const { dtype, shape } = value;
    const length = value.numel * dtypeBytes(dtype);
    header[name] = { dtype: toFile.get(dtype), shape, data_offsets: [offset, offset + length] };
    offset += length;
  }
  const text = Buffer.from(JSON.stringify(header));
  const padded = Buffer.concat([text, Buffer.alloc((8 - (text.length % 8)) % 8, ' ')]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  // Written aside: whoever has the old file open or mapped goes on with the old one.
  const aside = `${path}.tmp-${process.pid}`;
  const file = openSync(aside, 'w');
  try {
    writeAll(file, length);
    writeAll(file, padded);
    for (const value of tensors.values()) writeAll(file, value.toBytes());
    fsyncSync(file);
    renameSync(aside, path);
  } finally {
    closeSync(file);
    rmSync(aside, { force: true });
  }
}

/** What floating-point tensors become as they are read, and where all of them go: their own dtype, and the CPU. */
export interface ReadOptions {
  readonly dtype?: DType;
  readonly device?: string;
  /**
   * Tensors that stay as they are in the file are mapped from it: nothing is read before it is used, and processes share
   * the memory. Writing to them leaves the file as it is. The file must not become shorter while they are in use, so it
   * is for models that are only read; default false.
   */
  readonly map?: boolean;
  /** Only the tensors of these names are read; all by default. */
  readonly only?: (name: string) => boolean;
}

/**
 * Reads the tensors of a file piece by piece into its final dtype and place, so that never more than two MiB are held
 * beside the tensors themselves; the caller owns them.
 */
export function readSafetensors(path: string, options: ReadOptions = {}): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  try {
    readInto(tensors, path, options);
    return tensors;
  } catch (error) {
    for (const value of tensors.values()) value.dispose();
    if (error instanceof ReckonError) throw error;
    throw new ReckonError('data', 'bad-safetensors', `${path} cannot be read: ${messageOf(error)}`);
  }
}

function readInto(tensors: Map<string, Tensor>, path: string, options: ReadOptions): void {
  const file = openSync(path, 'r');
  try {
    const size = fstatSync(file).size;
    const { entries: all, start } = readHeader(file, size, path);
    const { only } = options;
    const entries = only ? all.filter(({ name }) => only(name)) : all;
    const stay = new Set(
      options.map === true ? entries.filter((entry) => canMap(entry, start, options)) : [],
    );
    mapInto(tensors, path, size, start, [...stay]);
    const rest = entries.filter((entry) => !stay.has(entry));
    const largest = rest.reduce((most, entry) => Math.max(most, entry.end - entry.begin), 0);
    const buffer = new Uint8Array(Math.min(largest, pieceBytes));
    for (const entry of rest) tensors.set(entry.name, readTensor(file, start, entry, buffer, options));
  } finally {
    closeSync(file);
  }
}

/** Whether a tensor can be used where it lies in the file. */
function canMap(
  { dtype, begin, end }: Entry,
  start: number,
  { dtype: wanted, device }: ReadOptions,
): boolean {
  const stays = !isFloating(dtype) || wanted === undefined || wanted === dtype;
  return stays && (device ?? 'cpu') === 'cpu' && end > begin && (start + begin) % dtypeBytes(dtype) === 0;
}

/** Maps the file once, privately, and gives each entry its view of it. */
function mapInto(
  tensors: Map<string, Tensor>,
  path: string,
  size: number,
  start: number,
  entries: readonly Entry[],
): void {
  if (entries.length === 0) return;
  scope(() => {
    const bytes = invoke(fromFileOp, path, false, size, dtypeCode('u8'));
    for (const { name, dtype, shape, begin, end } of entries) {
      const own = bytes.narrow(0, start + begin, end - begin);
      tensors.set(name, invoke(viewAsOp, own.handle, dtypeCode(dtype)).view(shape).keep());
    }
  });
}

const pieceBytes = 2 ** 20;

function readTensor(
  file: number,
  start: number,
  { dtype, shape, begin, end }: Entry,
  buffer: Uint8Array,
  options: ReadOptions,
): Tensor {
  const wanted = isFloating(dtype) ? (options.dtype ?? dtype) : dtype;
  const width = dtypeBytes(dtype);
  const whole = zeros([(end - begin) / width], wanted, options.device ?? 'cpu');
  try {
    for (let place = begin; place < end; place += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, end - place));
      readExactly(file, start + place, piece);
      noGrad(() =>
        scope(() => {
          const count = piece.length / width;
          whole.narrow(0, (place - begin) / width, count).copy_(fromBytes(piece, dtype, [count]));
        }),
      );
    }
    return whole.view(shape);
  } finally {
    whole.dispose();
  }
}

function readHeader(file: number, size: number, path: string): { entries: Entry[]; start: number } {
  const damaged = (why: string): ReckonError =>
    new ReckonError(
      'data',
      'bad-safetensors',
      `${path} is not a whole safetensors file: ${why}; get it again`,
    );
  if (size < 8) throw damaged(`${size} bytes are too few`);
  const headerLength = Number(Buffer.from(readAt(file, 0, 8)).readBigUInt64LE());
  if (headerLength > largestHeader || headerLength > size - 8) {
    throw damaged(`its header would take ${headerLength} of ${size} bytes`);
  }
  let header: unknown;
  try {
    header = JSON.parse(Buffer.from(readAt(file, 8, headerLength)).toString('utf8'));
  } catch {
    throw damaged('its header is not JSON');
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) {
    throw damaged('its header is not an object');
  }
  const start = 8 + headerLength;
  const entries = Object.entries(header)
    .filter(([name]) => name !== '__metadata__')
    .map(([name, value]) => checkEntry(name, value, size - start, damaged));
  let position = 0;
  for (const entry of [...entries].sort((a, b) => a.begin - b.begin || a.end - b.end)) {
    if (entry.begin !== position) throw damaged(`tensor '${entry.name}' overlaps another or leaves a hole`);
    position = entry.end;
  }
  if (position !== size - start) throw damaged(`${size - start - position} bytes belong to no tensor`);
  return { entries, start };
}

function checkEntry(
  name: string,
  value: unknown,
  room: number,
  damaged: (why: string) => ReckonError,
): Entry {
  const { dtype, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>;
  const known = typeof dtype === 'string' ? fromFile.get(dtype) : undefined;
  if (!known) throw damaged(`tensor '${name}' has the unknown dtype ${JSON.stringify(dtype)}`);
  if (!isSizes(shape)) throw damaged(`tensor '${name}' has no valid shape`);
  if (!isSizes(offsets) || offsets.length !== 2) throw damaged(`tensor '${name}' has no valid offsets`);
  const [begin, end] = offsets as [number, number];
  const length = shape.reduce((product, size) => product * size, 1) * dtypeBytes(known);
  if (begin > end || end > room || end - begin !== length) {
    throw damaged(
      `tensor '${name}' claims bytes ${begin} to ${end}, its shape needs ${length}, and ${room} are there`,
    );
  }
  // Sizes beside a 0 are bounded by no byte of the file.
  if (length === 0 && shape.some((size) => size > 2 ** 40))
    throw damaged(`the sizes of tensor '${name}' overflow`);
  return { name, dtype: known, shape, begin, end };
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((size) => Number.isSafeInteger(size) && size >= 0);
}

function readAt(file: number, position: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  readExactly(file, position, bytes);
  return bytes;
}

function readExactly(file: number, position: number, into: Uint8Array): void {
  let done = 0;
  while (done < into.length) {
    const count = readSync(file, into, done, into.length - done, position + done);
    if (count === 0)
      throw new ReckonError('data', 'bad-safetensors', 'the file became shorter while it was read');
    done += count;
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  let done = 0;
  while (done < bytes.length) done += writeSync(file, bytes, done, Math.min(bytes.length - done, 1 << 30));
}
