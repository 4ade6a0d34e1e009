/** What a container grants of the machine: its quota of processors, in either version of control groups, and its memory. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { grantedMemory, grantedProcessors } from '../../src/util/capacity.ts';

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true });
});

function rootWith(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'reckon-capacity-'));
  folders.push(root);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

const all = availableParallelism();

describe('processors', () => {
  it.each<[string, Readonly<Record<string, string>>, number]>([
    ['without control groups', {}, all],
    ['without a bound', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': 'max 100000\n' }, all],
    ['by a quota of one', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '100000 100000\n' }, 1],
    ['by a part of one', { 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cpu.max': '20000 100000\n' }, 1],
    ['by a quota beyond all', { 'sys/fs/cgroup/cpu.max': '99900000 100000\n' }, all],
    [
      'by a group above its own',
      {
        'proc/self/cgroup': '0::/a.slice/b\n',
        'sys/fs/cgroup/a.slice/cpu.max': '150000 100000\n',
        'sys/fs/cgroup/a.slice/b/cpu.max': 'max 100000\n',
      },
      1,
    ],
    [
      'by the first version',
      { 'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '100000\n', 'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n' },
      1,
    ],
    [
      'by none of the first version',
      { 'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1\n', 'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000\n' },
      all,
    ],
  ])('are counted %s', (_, files, count) => {
    expect(grantedProcessors(rootWith(files))).toBe(count);
  });
});

it('memory is the machine’s, or the limit where that is less', () => {
  expect(grantedMemory(0)).toBe(totalmem());
  expect(grantedMemory(2 ** 30)).toBe(2 ** 30);
  expect(grantedMemory(2 ** 64)).toBe(totalmem());
});
