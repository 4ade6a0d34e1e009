/** Every command of docs/guide.md runs, in its order, where it stands. */

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const place = mkdtempSync(join(tmpdir(), 'reckon-guide-'));
afterAll(() => rmSync(place, { recursive: true, force: true }));

/** `npm start` is the quickstart's own test; all others are run. */
const commands = readFileSync(join(root, 'docs', 'guide.md'), 'utf8')
  .split('\n')
  .filter((line) => /^ {4}(reckon|npm|cd) /.test(line))
  .map((line) => line.trim())
  .filter((line) => line !== 'npm start');

it('every command of the guide works', () => {
  expect(commands.length).toBeGreaterThan(15);
  symlinkSync(join(root, 'recipes'), join(place, 'recipes'));
  const bin = join(place, 'bin');
  mkdirSync(bin);
  writeFileSync(
    join(bin, 'reckon'),
    `#!/bin/sh\nexec ${process.execPath} ${join(root, 'dist', 'cli', 'main.js')} "$@"\n`,
  );
  chmodSync(join(bin, 'reckon'), 0o755);
  const outside = { ...process.env, PATH: `${bin}${delimiter}${process.env['PATH']}` };
  let cwd = place;
  for (const command of commands) {
    if (command.startsWith('cd ')) {
      cwd = join(cwd, command.slice(3));
      continue;
    }
    // As a newcomer writes it: in the experiment's folder npx finds the command, and nothing else helps it.
    const [written, env] =
      cwd === place
        ? [command, outside]
        : [command.replace(/^reckon /, 'npx --no-install reckon '), process.env];
    const { status, stderr } = spawnSync('sh', ['-c', written], { cwd, env, encoding: 'utf8' });
    expect({ command, status, stderr: status === 0 ? '' : stderr }).toEqual({
      command,
      status: 0,
      stderr: '',
    });
  }
});
