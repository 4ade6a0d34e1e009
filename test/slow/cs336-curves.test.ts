/** The twin of the CS336 recipe draws the accuracy of SFT, expert iteration and GRPO against the data size on one chart. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const runs = mkdtempSync(join(tmpdir(), 'reckon-cs336-'));
afterAll(() => rmSync(runs, { recursive: true, force: true }));

it('one sweep, three curves', () => {
  const words = [
    'sweep',
    'recipes/cs336/twin.yaml',
    '--runs-dir',
    runs,
    '--grid',
    'task.subset=32,64,128',
    '--jobs',
    '2',
  ];
  const { status, stderr } = spawnSync(process.execPath, ['dist/cli/main.js', ...words], {
    cwd: root,
    encoding: 'utf8',
  });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const svg = readFileSync(join(runs, 'cs336-twin-sweep', 'sweep.svg'), 'utf8');
  for (const label of ['sft', 'ei', 'grpo']) expect(svg).toContain(`>${label}</text>`);
  expect(svg.match(/class="dot"/g)).toHaveLength(9);
  expect(svg).toContain('task.subset');
});
