import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { json, startReckon, tinyFolder } from './tiny-run.ts';

const STAGES = `
  - type: prepare
  - { type: sft, steps: 2, optimizerBatch: 4, microBatchTokens: 1024 }
  - { type: evaluate, label: sft }`;

it('a sweep runs, resumes and compares on validation problems', { timeout: 120_000 }, async () => {
  const folder = tinyFolder({ stages: STAGES });
  const words = ['sweep', join(folder, 'recipe.yaml'), '--runs-dir', folder, '--jobs', '2', '--grid'];
  const first = await startReckon([...words, 'sft.learningRate=1e-3,1e-2']).ended;
  expect(first).toMatchObject({ code: 0, stderr: '' });
  expect(first.stdout).toContain('validation');
  const sweep = join(folder, 'tiny-sweep');
  expect(json(join(sweep, 'learningRate-1e-3', 'evaluations', 'sft.json'))).toMatchObject({
    split: 'validation',
  });
  const log = readFileSync(join(sweep, 'learningRate-1e-2', 'run.log'), 'utf8');
  const second = await startReckon([...words, 'sft.learningRate=1e-3,1e-2,1e-1', '--json']).ended;
  expect(second.code).toBe(0);
  const { runs } = JSON.parse(second.stdout) as { runs: { status: string }[] };
  expect(runs.map(({ status }) => status)).toEqual(['done', 'done', 'done']);
  const again = readFileSync(join(sweep, 'learningRate-1e-2', 'run.log'), 'utf8').slice(log.length);
  expect(again).toContain('02-sft: done already');
  expect(existsSync(join(sweep, 'sweep.svg'))).toBe(true);
});
