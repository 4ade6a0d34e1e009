/** One whole run, and what a user can do to it: start it twice, change its recipe, damage it, interrupt it. */

import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { listCheckpoints } from '../../src/checkpoints/folder.ts';
import { essence, json, lines, runTiny, runWords, startReckon, tinyFolder } from './tiny-run.ts';

/** A learning rate that changes no bit: every update is on-policy, and the policy stays its reference. */
const FROZEN = `
  - type: prepare
  - { type: evaluate, label: untrained }
  - { type: sft, steps: 12, optimizerBatch: 8, microBatchTokens: 1024, learningRate: 2.0e-3 }
  - { type: evaluate, label: sft }
  - { type: grpo, steps: 6, promptsPerStep: 4, groupSize: 4, optimizerBatch: 8, epochs: 2, kl: { beta: 0.1 },
      reference: start, microBatchTokens: 512, learningRate: 1.0e-30 }
  - { type: evaluate, label: grpo }
  - type: report`;

const MEBIBYTE = 2 ** 20;
let folder: string;
let run: string;
let seconds: number;

beforeAll(async () => {
  folder = tinyFolder({ stages: FROZEN, dtype: 'bf16', maxCompletionTokens: 64 });
  run = join(folder, 'whole');
  const started = performance.now();
  const { code, stdout, stderr } = await runTiny(
    folder,
    'whole',
    '--json',
    '--set',
    'evaluation.samplesPerProblem=8',
  );
  seconds = (performance.now() - started) / 1000;
  expect({ code, stderr: stderr.includes('error') }).toEqual({ code: 0, stderr: false });
  expect(JSON.parse(stdout)).toEqual({ status: 'done', directory: run, seconds: expect.any(Number) });
});

/** A copy of the finished run to be damaged, by name. */
function copyOfRun(name: string): string {
  cpSync(run, join(folder, name), { recursive: true });
  return join(folder, name);
}

/** The same command again, in the shape that the shared run had. */
function again(name: string, ...more: readonly string[]): ReturnType<typeof runTiny> {
  return runTiny(folder, name, '--set', 'evaluation.samplesPerProblem=8', ...more);
}

describe('the numbers of a run', () => {
  it('have a ratio of exactly 1 and a KL of exactly 0 while policy, sampler and reference are the same', () => {
    const rows = lines(join(run, '05-grpo', 'metrics.jsonl'));
    expect(rows.length).toBe(6);
    for (const row of rows) {
      expect(row).toMatchObject({ 'policy/ratio_mean': 1, 'policy/kl': 0, 'policy/clip_fraction': 0 });
      expect(row['policy/logp_mismatch_mean']).toBeLessThan(0.05);
    }
  });

  it.each([['03-sft'], ['05-grpo']])(
    'of %s hold the same tensors after every step, in bounded memory',
    (stage) => {
      const rows = lines(join(run, stage, 'metrics.jsonl'));
      expect(new Set(rows.map((row) => row['memory/live_tensors'])).size).toBe(1);
      expect(Math.max(...rows.map((row) => Number(row['memory/rss_bytes'])))).toBeLessThan(1024 * MEBIBYTE);
    },
  );

  it('are on disk for every rollout', () => {
    const rollouts = lines(join(run, '05-grpo', 'rollouts', 'train.jsonl'));
    expect(rollouts.length).toBe(6 * 4 * 4);
    expect(rollouts[0]).toMatchObject({
      step: 1,
      problemId: expect.any(String),
      sampleIndex: 0,
      completion: expect.any(String),
      stopReason: expect.stringMatching(/^(eos|stop|length)$/),
      verdict: expect.stringMatching(/^(correct|incorrect)$/),
    });
    expect(
      new Set(rollouts.map((one) => `${one['step']} ${one['problemId']} ${one['sampleIndex']}`)).size,
    ).toBe(96);
  });

  it('come to the summary that the issue names, with the seconds of the whole command', () => {
    const share = expect.any(Number);
    const part = { 'pass@1': share, 'pass@8': share, format: share, n: 100 };
    const summary = json(join(run, 'summary.json'));
    expect(Object.keys(summary)).toEqual(['version', 'task', 'seed', 'seconds', 'heldOut']);
    expect(summary).toMatchObject({
      task: 'game24',
      seed: 3,
      heldOut: { untrained: part, sft: part, grpo: part },
    });
    expect(Object.keys(summary['heldOut'] as object)).toEqual(['untrained', 'sft', 'grpo']);
    const stages = Object.entries(json(join(run, 'time.json'))['stages'] as Record<string, number>);
    // The report writes the summary before it has ended.
    const ended = stages.filter(([name]) => !name.endsWith('report')).map(([, took]) => took);
    expect(ended.length).toBe(6);
    expect(summary['seconds']).toBeGreaterThan(ended.reduce((sum, one) => sum + one, 0));
    expect(summary['seconds']).toBeLessThan(seconds);
  });

  it('make a report that needs no network', async () => {
    const html = readFileSync(join(run, 'report.html'), 'utf8');
    expect(html).toContain('<svg');
    expect(html).not.toMatch(/(src|href)="(?!#|data:)|url\((?!#|data:)|@import|<script[^>]+src|fetch\(/);
    const name = 'reported';
    const copy = copyOfRun(name);
    for (const file of ['report.html', 'report.md']) writeFileSync(join(copy, file), 'spoiled');
    const { code, stdout } = await startReckon(['report', name, '--runs-dir', folder]).ended;
    expect(code).toBe(0);
    expect(stdout).toContain('untrained');
    expect(readFileSync(join(copy, 'report.html'), 'utf8')).toContain('<svg');
    expect(readFileSync(join(copy, 'report.md'), 'utf8')).toContain('untrained');
  });
});

describe('a run', () => {
  it('that is done says so, and does nothing twice', async () => {
    const before = json(join(run, 'summary.json'));
    const { code, stdout } = await again('whole');
    expect(code).toBe(0);
    expect(stdout.split('\n').filter((line) => line.includes('done already')).length).toBe(7);
    expect(json(join(run, 'summary.json'))).toEqual(before);
  });

  it('whose recipe has changed is refused, with what changed', async () => {
    const { code, stderr } = await again('whole', '--set', 'sft.steps=13');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^error: the recipe has changed since 03-sft ran: stages\[2\]\.steps was 12 and is 13; .*--fresh.*\n$/,
    );
  });

  it('in use is refused to a second process, which names the first', async () => {
    const first = startReckon(runWords(folder, 'locked'));
    expect(await first.seen('02-evaluate-untrained: started')).toBe(true);
    const { code, stderr } = await runTiny(folder, 'locked');
    first.child.kill('SIGKILL');
    await first.ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*locked is in use by process \d+ on .*\n$/);
    expect(stderr).toContain(`process ${first.child.pid} on ${hostname()} `);
  });

  it.each([['03-sft'], ['05-grpo']])(
    'with a damaged newest checkpoint in %s falls back to the one before, to the same end',
    async (stage) => {
      const copy = copyOfRun(`damaged-${stage}`);
      const [before, newest] = listCheckpoints(join(copy, stage)).slice(-2);
      flipByte(join(newest!.path, 'model.safetensors'));
      const { code, stdout } = await again(`damaged-${stage}`);
      expect(code).toBe(0);
      expect(stdout).toContain(`${stage}: its result ${stage}/checkpoints/step-`);
      expect(stdout).toContain(
        `${stage}: step ${newest!.step}'s checkpoint is skipped: model.safetensors does not match`,
      );
      expect(stdout).toContain(`${stage}: resuming after step ${before!.step} of ${newest!.step}`);
      expect(essence(copy)).toEqual(essence(run));
    },
  );

  it('is stopped in an evaluation at once, and goes on to the same end', async () => {
    const words = runWords(folder, 'evaluated', '--set', 'evaluation.samplesPerProblem=8');
    const { child, seen, ended } = startReckon(words);
    expect(await seen('02-evaluate-untrained: started')).toBe(true);
    child.kill('SIGINT');
    const { code, stdout } = await ended;
    expect(code).toBe(130);
    expect(stdout).toContain('SIGINT: stopping at the end of this step');
    expect(stdout).toContain('02-evaluate-untrained: stopped');
    expect(existsSync(join(folder, 'evaluated', 'evaluations', 'untrained.json'))).toBe(false);
    expect((await again('evaluated')).code).toBe(0);
    expect(essence(join(folder, 'evaluated'))).toEqual(essence(run));
  });

  it('is stopped by JSON users with a result that says so', async () => {
    const { child, seen, ended } = startReckon(runWords(folder, 'json', '--json'));
    expect(await seen('03-sft 1/12')).toBe(true);
    child.kill('SIGTERM');
    const { code, stdout } = await ended;
    expect(code).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({ status: 'stopped', directory: join(folder, 'json') });
  });
});

describe('a disk that fails is one sentence', () => {
  it('when it is full', async () => {
    if (!existsSync('/dev/full')) return console.log('skipped: this system has no /dev/full');
    mkdirSync(join(folder, 'full'));
    symlinkSync('/dev/full', join(folder, 'full', 'run.log'));
    const { code, stderr } = await runTiny(folder, 'full');
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^error: .*the disk is full; free some space and give the same command again \(ENOSPC\)\n$/,
    );
  });

  it('when a folder may not be written', async () => {
    const root = process.getuid?.() === 0;
    const denied = join(folder, 'denied');
    mkdirSync(denied, { mode: 0o555 });
    chmodSync(folder, 0o755);
    const nobody = root ? { uid: 65534 } : {};
    const words = ['run', join(folder, 'recipe.yaml'), '--runs-dir', denied];
    const { code, stderr } = await startReckon(words, nobody).ended;
    if (root && code !== 1) return console.log(`skipped: root cannot become another user here: ${stderr}`);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*may not be written or read by this user; .* \(EACCES\)\n$/);
  });

  it('when a file is in the way', async () => {
    writeFileSync(join(folder, 'file'), '');
    const { code, stderr } = await startReckon([
      'run',
      join(folder, 'recipe.yaml'),
      '--runs-dir',
      join(folder, 'file'),
    ]).ended;
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*file.*\n$/);
    expect(stderr).not.toContain('not expected');
  });
});

describe('a recipe that cannot work', () => {
  it('with positions for no demonstration says which number to raise', async () => {
    const { code, stderr } = await runTiny(
      folder,
      'short',
      '--set',
      'model.init.maxPositions=64',
      '--set',
      'sampling.maxCompletionTokens=16',
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(
      /^error: 03-sft: \d+ of the \d+ longest demonstrations have more than 64 tokens, prompt included \(.*: \d+\); the model has 64 positions: raise model.init.maxPositions, or leave/,
    );
  });
});

function flipByte(path: string): void {
  const bytes = readFileSync(path);
  const last = bytes.length - 1;
  bytes[last] = bytes[last]! ^ 1;
  writeFileSync(path, bytes);
}
