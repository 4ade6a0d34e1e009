/** Set-up's download against a real server on the loopback: resume, checksums, refusals, a full or closed disk. */
import { existsSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { sendFile, serve, setupModule, sha256, temporaryFolder } from './setup-fixtures.ts';

interface DownloadModule {
  download(
    url: string,
    path: string,
    options: {
      sha256: string;
      progress?: (done: number, total: number) => void;
      waitMs: number;
      idleMs?: number;
    },
  ): Promise<void>;
}

const { download } = await setupModule<DownloadModule>('download');
const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * index) % 251));
const options = { sha256: sha256(bytes), waitMs: 1 };

describe('download', () => {
  test('brings a whole file and reports its bytes', async () => {
    const { url } = await serve((request, response) => sendFile(request, response, bytes));
    const path = join(temporaryFolder(), 'deep', 'file.whl');
    const seen: [number, number][] = [];
    await download(url, path, { ...options, progress: (done, total) => seen.push([done, total]) });
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect(seen.at(-1)).toEqual([bytes.length, bytes.length]);
    expect(existsSync(`${path}.part`)).toBe(false);
  });

  test('continues after cut connections at the byte where it stood', async () => {
    const cuts = [100_000, 200_000, undefined];
    const { url, ranges } = await serve((request, response, count) =>
      sendFile(request, response, bytes, cuts[count - 1]),
    );
    const path = join(temporaryFolder(), 'file.whl');
    await download(url, path, options);
    expect(readFileSync(path).equals(bytes)).toBe(true);
    expect(ranges).toEqual([undefined, 'bytes=100000-', 'bytes=200000-']);
  });

  test('a later call continues what an earlier one had to leave', async () => {
    const folder = temporaryFolder();
    const path = join(folder, 'file.whl');
    const broken = await serve((request, response, count) =>
      count === 1 ? sendFile(request, response, bytes, 120_000) : response.destroy(),
    );
    await expect(download(broken.url, path, options)).rejects.toThrow(/check the network and run again/);
    expect(readdirSync(folder)).toEqual(['file.whl.part']);
    const whole = await serve((request, response) => sendFile(request, response, bytes));
    await download(whole.url, path, options);
    expect(whole.ranges).toEqual(['bytes=120000-']);
    expect(readFileSync(path).equals(bytes)).toBe(true);
  });

  test('a complete part file is accepted when the server has nothing to add', async () => {
    const path = join(temporaryFolder(), 'file.whl');
    writeFileSync(`${path}.part`, bytes);
    const { url } = await serve((request, response) => sendFile(request, response, bytes));
    await download(url, path, options);
    expect(readFileSync(path).equals(bytes)).toBe(true);
  });

  test('starts over when the part was of another file', async () => {
    const path = join(temporaryFolder(), 'file.whl');
    writeFileSync(`${path}.part`, Buffer.alloc(1000, 7));
    const { url, ranges } = await serve((request, response) => sendFile(request, response, bytes));
    await download(url, path, options);
    expect(ranges).toEqual(['bytes=1000-', undefined]);
    expect(readFileSync(path).equals(bytes)).toBe(true);
  });

  test('refuses a wrong checksum and leaves nothing', async () => {
    const folder = temporaryFolder();
    const { url } = await serve((request, response) => sendFile(request, response, bytes));
    const wrong = { ...options, sha256: '0'.repeat(64) };
    await expect(download(url, join(folder, 'file.whl'), wrong)).rejects.toThrow(/wrong checksum.*run again/);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('404 fails at once, 500 after some tries', async () => {
    const folder = temporaryFolder();
    const missing = await serve((_request, response) => response.writeHead(404).end());
    await expect(download(missing.url, join(folder, 'a'), options)).rejects.toThrow(
      /HTTP status 404: check the network/,
    );
    expect(missing.paths.length).toBe(1);
    const failing = await serve((_request, response) => response.writeHead(500).end());
    await expect(download(failing.url, join(folder, 'b'), options)).rejects.toThrow(/HTTP status 500/);
    expect(failing.paths.length).toBe(4);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('a server that falls silent is given up', async () => {
    const { url, ranges } = await serve((_request, response) => {
      response.writeHead(200, { 'content-length': 10 });
      response.write('abc');
    });
    const silent = { ...options, idleMs: 50 };
    await expect(download(url, join(temporaryFolder(), 'a'), silent)).rejects.toThrow(
      /could not be downloaded \(no byte/,
    );
    expect(ranges.length).toBeGreaterThan(1);
  });

  test('no server at all is one sentence', async () => {
    const path = join(temporaryFolder(), 'a');
    await expect(download('http://127.0.0.1:1/a', path, options)).rejects.toThrow(
      /could not be downloaded \(.*run again/,
    );
  });

  test.skipIf(!existsSync('/dev/full'))('a full disk is told as such, without more tries', async () => {
    const folder = temporaryFolder();
    symlinkSync('/dev/full', join(folder, 'file.whl.part'));
    const { url, ranges } = await serve((request, response) => sendFile(request, response, bytes));
    await expect(download(url, join(folder, 'file.whl'), options)).rejects.toThrow(
      /is full: free some space/,
    );
    expect(ranges.length).toBe(1);
    expect(readdirSync(folder)).toEqual([]);
  });
});
