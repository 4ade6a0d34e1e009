/**
 * Owns the quickstart recipe's promise. At scale 1 a short twin must learn to write traces; from scale 10 on the whole
 * recipe runs and must reach what recipes/quickstart/README.md says.
 */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const runs = mkdtempSync(join(tmpdir(), 'reckon-quickstart-'));
afterAll(() => rmSync(runs, { recursive: true, force: true }));
const whole = Number(process.env['RECKON_SLOW_SCALE'] ?? 1) >= 10;

function run(...more: string[]): {
  heldOut: Record<'untrained' | 'sft' | 'grpo', Record<string, number>>;
  seconds: number;
} {
  const { status, stderr } = spawnSync(
    process.execPath,
    ['dist/cli/main.js', 'run', 'recipes/quickstart/recipe.yaml', '--runs-dir', runs, '--quiet', ...more],
    { cwd: root, encoding: 'utf8' },
  );
  expect(stderr).not.toContain('error');
  expect(status).toBe(0);
  return JSON.parse(readFileSync(join(runs, 'quickstart', 'summary.json'), 'utf8'));
}

it.skipIf(whole)('a twin of 400 SFT and 2 GRPO steps writes traces and solves its first puzzles', () => {
  const { heldOut } = run('--set', 'sft.steps=400', '--set', 'grpo.steps=2', '--set', 'grpo.warmupSteps=1');
  expect(heldOut.untrained['format']).toBeLessThan(0.05);
  expect(heldOut.sft['format']).toBeGreaterThan(0.2);
  expect(heldOut.sft['pass@8']).toBeGreaterThan(heldOut.untrained['pass@8']!);
});

it.skipIf(!whole)(
  'the whole recipe: at least 20 % after SFT, 20 points more after GRPO, within 12 minutes',
  () => {
    const { heldOut, seconds } = run();
    expect(heldOut.sft['pass@1']).toBeGreaterThanOrEqual(0.2);
    expect(heldOut.grpo['pass@1']! - heldOut.sft['pass@1']!).toBeGreaterThanOrEqual(0.2);
    expect(seconds).toBeLessThan(720);
  },
  1_200_000,
);
