/** Owns the agreement of the table of presets in docs/papers.md with the presets that recipes know. */

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { grpoPresets } from '../../src/recipe/stages/grpo-presets.ts';

const page = readFileSync(fileURLToPath(new URL('../../docs/papers.md', import.meta.url)), 'utf8');

/** Every row of the table under the heading `| \`preset\` | source | what it sets |`, cut into cells. */
function rows(): string[][] {
  const [, table = ''] = page.split('| `preset` | source | what it sets |\n|---|---|---|\n');
  const end = table.indexOf('\n\n');
  return table
    .slice(0, end)
    .split('\n')
    .map((line) => line.split('|').slice(1, -1));
}

describe('the table of presets', () => {
  it('has one row for every preset, and no other', () => {
    const named = rows().flatMap(([cell]) => [...cell!.matchAll(/`([^`]+)`/g)].map((found) => found[1]!));
    expect(named.sort()).toEqual(Object.keys(grpoPresets).sort());
  });

  it('names a source and what is set in every row', () => {
    for (const [name, source, sets] of rows()) {
      expect(source!.trim(), name).not.toBe('');
      expect(sets!.trim(), name).not.toBe('');
    }
  });

  it('states the clip ranges that the presets have', () => {
    for (const [name, , sets] of rows()) {
      for (const [, preset] of name!.matchAll(/`([^`]+)`/g)) {
        const { clip } = grpoPresets[preset as keyof typeof grpoPresets];
        if (!clip) continue;
        const numbers = [...sets!.matchAll(/\d+(?:\.\d+)?(?:e-?\d+)?/g)].map((found) => Number(found[0]));
        expect(numbers, preset).toContain(clip.high);
      }
    }
  });
});
