/** Set-up's zip reader: what it unpacks, and the archives that it must refuse. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { makeZip, setupModule, temporaryFolder, type ZipEntry } from './setup-fixtures.ts';

interface UnzipModule {
  unzip(archive: string, folder: string, options?: { accept?: (name: string) => boolean }): Promise<number>;
}

const { unzip } = await setupModule<UnzipModule>('unzip');
const { isNeeded } = await setupModule<{ isNeeded(name: string): boolean }>('fetch-torch');
const text = Buffer.from('a line that repeats\n'.repeat(500));
const large = Buffer.from(
  Uint32Array.from({ length: 2_300_000 }, (_, index) => Math.imul(index, 0x9e3779b1)).buffer,
);

function archive(entries: ZipEntry[], cut = 0): { path: string; folder: string; target: string } {
  const folder = temporaryFolder();
  const path = join(folder, 'made.whl');
  const bytes = makeZip(entries);
  writeFileSync(path, bytes.subarray(0, bytes.length - cut));
  return { path, folder, target: join(folder, 'out') };
}

describe('unzip', () => {
  test('unpacks stored, deflated, zip64 and large entries, and only the accepted ones', async () => {
    const { path, target } = archive([
      { name: 'torch/lib/a.so', bytes: text },
      { name: 'torch/include/b.h', bytes: text, stored: true },
      { name: 'torch/include/c.h', bytes: text, wide: true },
      { name: 'torch/lib/stored.so.1', bytes: large, stored: true },
      { name: 'torch/lib/packed.so', bytes: large },
      { name: 'torch/nn/no.py', bytes: text },
      { name: 'torch/lib/empty.so', bytes: Buffer.alloc(0) },
    ]);
    expect(await unzip(path, target, { accept: isNeeded })).toBe(6);
    for (const name of ['lib/a.so', 'include/b.h', 'include/c.h']) {
      expect(readFileSync(join(target, 'torch', name)).equals(text)).toBe(true);
    }
    for (const name of ['lib/stored.so.1', 'lib/packed.so']) {
      expect(readFileSync(join(target, 'torch', name)).equals(large)).toBe(true);
    }
    expect(readFileSync(join(target, 'torch/lib/empty.so')).length).toBe(0);
    expect(existsSync(join(target, 'torch/nn'))).toBe(false);
  });

  test.each([
    '../escape.h',
    'torch/include/../../../escape.h',
    '/tmp/escape.h',
    'C:/escape.h',
    'a\\..\\escape.h',
  ])('refuses the entry %s and unpacks nothing', async (name) => {
    const { path, folder, target } = archive([
      { name: 'torch/lib/a.so', bytes: text },
      { name, bytes: text },
    ]);
    await expect(unzip(path, target)).rejects.toThrow(/points outside its folder.*refused/);
    expect(readdirSync(folder)).toEqual(['made.whl']);
  });

  test('refuses a symbolic link', async () => {
    const { path, target } = archive([{ name: 'a', bytes: Buffer.from('/etc'), mode: 0o120777 }]);
    await expect(unzip(path, target)).rejects.toThrow(/refused/);
  });

  test.each([1, 30, 5000])('an archive that lost its last %i bytes is damaged', async (cut) => {
    const { path, target } = archive([{ name: 'a', bytes: large.subarray(0, 100_000), stored: true }], cut);
    await expect(unzip(path, target)).rejects.toThrow(/is damaged.*delete it and run again/);
  });

  test('an empty file and a wrong CRC are damage too', async () => {
    const { path, target } = archive([{ name: 'a', bytes: text, crc: 1 }]);
    await expect(unzip(path, target)).rejects.toThrow(/wrong CRC/);
    writeFileSync(path, '');
    await expect(unzip(path, target)).rejects.toThrow(/no whole zip file/);
  });

  test('broken compressed data is damage, not a crash', async () => {
    const { path, target } = archive([{ name: 'a', bytes: text }]);
    const bytes = readFileSync(path);
    bytes.fill(0xff, 31, 60);
    writeFileSync(path, bytes);
    await expect(unzip(path, target)).rejects.toThrow(/is damaged/);
  });
});
