/** `npm start` as people use it: npm, set-up and command in one terminal, one clock, one Ctrl-C. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeEach, describe, expect, it } from 'vitest';
import { ROOT, type Started, start, temporaryFolder } from './tiny-run.ts';

/** The quickstart's own recipe, made small, with steps enough to be interrupted. */
const SMALL = [
  ...['model.init.hiddenSize=32', 'model.init.layers=2', 'model.init.heads=2', 'model.init.keyValueHeads=1'],
  ...['evaluation.samplesPerProblem=1', 'sampling.maxCompletionTokens=16', 'sft.steps=1000'],
].flatMap((setting) => ['--set', setting]);

let runs: string;

beforeEach(() => {
  runs = temporaryFolder();
});

function npmStart(): Started {
  return start('npm', ['start', '--', ...SMALL, '--runs-dir', runs]);
}

function runLog(): string {
  return readFileSync(join(runs, 'quickstart', 'run.log'), 'utf8');
}

/** What must be true of a run that was asked once to stop, however often it was told. */
function expectCleanStop(): void {
  expect(runLog()).toMatch(/03-sft: stopped after step \d+, which is saved/);
  expect(runLog()).toMatch(/stopped after .*; the same command goes on from here/);
}

describe('npm start', () => {
  it.each(['SIGINT', 'SIGTERM'] as const)('told %s stops at the end of the step', async (signal) => {
    const { child, seen, ended } = npmStart();
    expect(await seen('03-sft 1/1000')).toBe(true);
    child.kill(signal);
    expect(await ended).toMatchObject({ code: 130, signal: null });
    expectCleanStop();
  });

  it('stops at the end of the step on one Ctrl-C in a terminal', async () => {
    if (process.platform !== 'linux') return console.log('skipped: script(1) has other options here');
    const command = `npm start -- ${SMALL.join(' ')} --runs-dir ${runs}`;
    const { child, seen, ended } = start('script', ['-qefc', command, '/dev/null']);
    expect(await seen('03-sft 1')).toBe(true);
    await sleep(200);
    child.stdin?.write('\u0003');
    const { code, output } = await ended;
    expect(output).toContain('SIGINT: stopping at the end of this step');
    expectCleanStop();
    expect(code).toBe(130);
  });
});

describe('set-up --then', () => {
  const setup = (...words: string[]): Started =>
    start(process.execPath, [join(ROOT, 'scripts', 'setup.mjs'), ...words]);

  it('gives the exit code and output of the command as its own', async () => {
    expect(await setup('--then', '--version').ended).toMatchObject({
      code: 0,
      stdout: '0.1.0\n',
      stderr: '',
    });
    const wrong = await setup('--then', 'run', 'no-such-file.yaml').ended;
    expect(wrong).toMatchObject({ code: 2, stdout: '' });
    expect(wrong.stderr).toMatch(/^error: .*no-such-file\.yaml.*\n$/);
  });

  it('counts its own time in the seconds of the run', async () => {
    const late = Date.now() - 60_000;
    const words = ['dist/cli/main.js', 'run', 'recipes/quickstart/recipe.yaml', ...SMALL, '--runs-dir', runs];
    const { child, seen, ended } = start(process.execPath, words, {
      env: { RECKON_STARTED_AT: String(late) },
    });
    expect(await seen('03-sft 1/1000')).toBe(true);
    child.kill('SIGINT');
    await ended;
    const seconds = Number(JSON.parse(readFileSync(join(runs, 'quickstart', 'time.json'), 'utf8')).seconds);
    expect(seconds).toBeGreaterThan(60);
    expect(seconds).toBeLessThan((Date.now() - late) / 1000);
  });
});

it('doctor finds nothing wrong after set-up', async () => {
  const { code, stdout } = await start(process.execPath, ['dist/cli/main.js', 'doctor']).ended;
  expect(code).toBe(0);
  expect(stdout).toContain('all is well');
});
