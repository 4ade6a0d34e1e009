/** What the set-up's tests stand on: small zips, small libtorch folders, a loopback file server; it asserts nothing. */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32, deflateRawSync } from 'node:zlib';
import { onTestFinished } from 'vitest';

/** The repository's root. */
export const ROOT: string = fileURLToPath(new URL('../../', import.meta.url));

/** A module of scripts/setup, which is plain JavaScript, under the type that the test gives it. */
export async function setupModule<T>(name: string): Promise<T> {
  return (await import(/* @vite-ignore */ join(ROOT, 'scripts', 'setup', `${name}.mjs`))) as T;
}

/** A fresh folder that is removed when the test ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-setup-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** SHA-256 in hexadecimal. */
export function sha256(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** One entry of a made zip; `stored` skips compression, `wide` writes its sizes as zip64, `mode` is the Unix file mode. */
export interface ZipEntry {
  name: string;
  bytes: Buffer;
  stored?: boolean;
  wide?: boolean;
  mode?: number;
  crc?: number;
}

/** A zip archive with these entries, made byte by byte. */
export function makeZip(entries: ZipEntry[]): Buffer {
  const locals: Buffer[] = [];
  const centrals: Buffer[] = [];
  let offset = 0;
  for (const entry of entries) {
    const name = Buffer.from(entry.name);
    const packed = entry.stored ? entry.bytes : deflateRawSync(entry.bytes);
    const shared = Buffer.alloc(26);
    shared.writeUInt16LE(20, 0);
    shared.writeUInt16LE(entry.stored ? 0 : 8, 4);
    shared.writeUInt32LE(entry.crc ?? crc32(entry.bytes), 10);
    shared.writeUInt32LE(entry.wide ? 0xffffffff : packed.length, 14);
    shared.writeUInt32LE(entry.wide ? 0xffffffff : entry.bytes.length, 18);
    shared.writeUInt16LE(name.length, 22);
    const extra = Buffer.alloc(entry.wide ? 20 : 0);
    if (entry.wide) {
      extra.writeUInt16LE(1, 0);
      extra.writeUInt16LE(16, 2);
      extra.writeBigUInt64LE(BigInt(entry.bytes.length), 4);
      extra.writeBigUInt64LE(BigInt(packed.length), 12);
    }
    shared.writeUInt16LE(extra.length, 24);
    const tail = Buffer.alloc(14);
    tail.writeUInt32LE(((entry.mode ?? 0o100644) << 16) >>> 0, 6);
    tail.writeUInt32LE(offset, 10);
    const local = Buffer.concat([Buffer.from('PK\u0003\u0004'), shared, name, extra, packed]);
    centrals.push(
      Buffer.concat([Buffer.from('PK\u0001\u0002'), Buffer.from([45, 3]), shared, tail, name, extra]),
    );
    locals.push(local);
    offset += local.length;
  }
  const directory = Buffer.concat(centrals);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(directory.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...locals, directory, Buffer.from('PK\u0005\u0006'), end]);
}

/** What the fake libtorch below is made of, as paths relative to the folder torch/. */
export function libtorchFiles(version: string, { abi = 1 }: { abi?: number } = {}): Record<string, Buffer> {
  const [major, minor, patch] = version.split('.');
  const header = ['MAJOR', 'MINOR', 'PATCH'].map(
    (part, index) => `#define TORCH_VERSION_${part} ${[major, minor, patch][index]}`,
  );
  const library = smallLibrary(abi);
  return {
    'include/torch/headeronly/version.h': Buffer.from(`${header.join('\n')}\n`),
    'lib/libc10.so': library,
    'lib/libtorch.so': library,
    'lib/libtorch_cpu.so': library,
  };
}

const libraries = new Map<number, Buffer>();

function smallLibrary(abi: number): Buffer {
  const known = libraries.get(abi);
  if (known) return known;
  const folder = mkdtempSync(join(tmpdir(), 'reckon-lib-'));
  const source =
    '#include <string>\nnamespace c10 { int size(const std::string& s) { return int(s.size()); } }\n';
  const target = join(folder, 'lib.so');
  const args = ['-x', 'c++', '-shared', '-fPIC', `-D_GLIBCXX_USE_CXX11_ABI=${abi}`, '-', '-o', target];
  execFileSync('c++', args, { input: source });
  const bytes = readFileSync(target);
  rmSync(folder, { recursive: true });
  libraries.set(abi, bytes);
  return bytes;
}

/** Writes files given by relative path below a folder. */
export function writeFiles(folder: string, files: Record<string, Buffer | string>): void {
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true });
    writeFileSync(join(folder, name), bytes);
  }
}

/** A PATH that holds these programs of this machine and nothing else. */
export function pathWith(folder: string, programs: string[]): string {
  mkdirSync(folder, { recursive: true });
  for (const program of programs) {
    const found = execFileSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim();
    symlinkSync(found, join(folder, program));
  }
  return folder;
}

/** A reporter of scripts/setup that keeps what it is told. */
export function quietReport(lines: string[] = []): object {
  return { live: false, line: (text: string) => lines.push(text), bytes: () => {}, clear: () => {} };
}

/** Serves until the test ends; returns the address and the Range header of each request. */
export async function serve(
  answer: (request: IncomingMessage, response: ServerResponse, count: number) => void,
): Promise<{ url: string; ranges: (string | undefined)[]; paths: string[] }> {
  const ranges: (string | undefined)[] = [];
  const paths: string[] = [];
  const server = createServer((request, response) => {
    ranges.push(request.headers.range);
    paths.push(request.url ?? '');
    answer(request, response, ranges.length);
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, ranges, paths };
}

/** Sends a file, or the rest of it that a Range header asks for; `cutAt` breaks the connection after so many bytes. */
export function sendFile(
  request: IncomingMessage,
  response: ServerResponse,
  bytes: Buffer,
  cutAt?: number,
): void {
  const start = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0);
  if (start >= bytes.length) {
    response.writeHead(416, { 'content-range': `bytes */${bytes.length}` }).end();
    return;
  }
  const range = { 'content-range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
  response.writeHead(start > 0 ? 206 : 200, {
    'content-length': bytes.length - start,
    ...(start > 0 ? range : {}),
  });
  if (cutAt === undefined) response.end(bytes.subarray(start));
  else response.write(bytes.subarray(start, cutAt), () => setTimeout(() => response.destroy(), 20));
}
