/** Owns the tests of `reckon run --seeds` that need no training: what the flag takes, and where it stops. */

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { runSeeds } from '../../src/cli/run-seeds.ts';
import { seedList } from '../../src/cli/values.ts';
import type { Recipe } from '../../src/recipe/index.ts';

describe('--seeds', () => {
  it('takes different whole numbers with commas between', () => {
    expect(seedList('1,2, 30')).toEqual([1, 2, 30]);
    for (const wrong of ['', '1,', '1,1', 'x', '-1', '1.5']) expect(() => seedList(wrong)).toThrow(/whole/);
  });

  it('stops with the seed that was stopped, and reports nothing yet', async () => {
    const started: string[] = [];
    const since: (number | undefined)[] = [];
    const result = await runSeeds(
      'nowhere',
      [4, 5, 6],
      async (seed, name) => ({ seed, name }) as Recipe,
      async ({ seed, name }, folder, from) => {
        started.push(`${folder}/${name}`);
        since.push(from);
        return { status: seed === 5 ? 'stopped' : 'done', directory: name, seconds: 1 };
      },
    );
    expect(started).toEqual(['nowhere/seed-4', 'nowhere/seed-5']);
    expect(result).toMatchObject({ status: 'stopped', report: null });
    // The first seed's time is from the start of the process, the second's from its own.
    expect(since).toEqual([undefined, expect.any(Number)]);
  });

  it('does not put its runs into a run', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'reckon-seeds-'));
    writeFileSync(join(folder, 'recipe.yaml'), '');
    const never = (): never => expect.unreachable();
    await expect(runSeeds(folder, [1, 2], never, never)).rejects.toThrow('is itself a run');
  });
});
