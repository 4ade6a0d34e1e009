import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  createFileExclusive,
  errorCode,
  sha256,
  sha256OfFile,
  writeFileAtomic,
} from '../../src/util/files.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-files-'));
});

describe('writeFileAtomic', () => {
  it('makes missing folders, replaces, and leaves nothing aside', () => {
    const path = join(folder, 'a', 'b.txt');
    writeFileAtomic(path, 'one');
    writeFileAtomic(path, new Uint8Array([116, 119, 111]));
    expect(readFileSync(path, 'utf8')).toBe('two');
    expect(readdirSync(join(folder, 'a'))).toEqual(['b.txt']);
  });

  it('throws and leaves nothing aside where the target cannot be replaced', () => {
    mkdirSync(join(folder, 'taken', 'inner'), { recursive: true });
    expect(() => writeFileAtomic(join(folder, 'taken'), 'x')).toThrow();
    expect(readdirSync(folder)).toEqual(['taken']);
  });

  it('shows the whole old or the whole new content when the writer is killed', async () => {
    const path = join(folder, 'state.json');
    const script = `
      import { writeFileAtomic } from './dist/util/files.js';
      for (let i = 0; ; i++) writeFileAtomic(${JSON.stringify(path)}, String(i % 10).repeat(200_000));`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', script]);
    while (!existsSync(path)) await sleep(10);
    await sleep(100);
    child.kill('SIGKILL');
    await once(child, 'exit');
    const text = readFileSync(path, 'utf8');
    expect(text).toBe(text[0]!.repeat(200_000));
  });
});

describe('createFileExclusive', () => {
  it('creates once and keeps what is there', () => {
    const path = join(folder, 'lock');
    expect(createFileExclusive(path, 'first')).toBe(true);
    expect(createFileExclusive(path, 'second')).toBe(false);
    expect(readFileSync(path, 'utf8')).toBe('first');
    expect(readdirSync(folder)).toEqual(['lock']);
  });
});

describe('sha256', () => {
  it('gives the known answer for abc, from text and from a file', () => {
    const known = 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad';
    writeFileSync(join(folder, 'abc'), 'abc');
    expect(sha256('abc')).toBe(known);
    expect(sha256OfFile(join(folder, 'abc'))).toBe(known);
  });

  it('reads files longer than its buffer', () => {
    const bytes = Buffer.alloc(3_000_001, 7);
    writeFileSync(join(folder, 'long'), bytes);
    expect(sha256OfFile(join(folder, 'long'))).toBe(sha256(bytes));
  });
});

it('errorCode reads the code of a system error only', () => {
  try {
    readFileSync(join(folder, 'nothing'));
  } catch (error) {
    expect(errorCode(error)).toBe('ENOENT');
  }
  expect(errorCode(new Error('plain'))).toBe('');
  expect(errorCode('text')).toBe('');
});
