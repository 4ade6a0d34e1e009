import { execFile, spawn, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { gpuComplaints } from '../../src/cli/doctor.ts';
import { FIXTURE_RECIPE } from './run-fixture.ts';
import { busyness, leastMs } from './timing.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(ROOT, 'dist', 'cli', 'main.js');

const execute = promisify(execFile);

interface Result {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line in a process of its own. */
function reckon(...words: string[]): Result {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...words], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return { code: status, stdout, stderr };
}

let folder: string;
let recipe: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-cli-'));
  recipe = join(folder, 'recipe.yaml');
  writeFileSync(recipe, FIXTURE_RECIPE);
});

describe('help', () => {
  it.concurrent.each([
    [[]],
    [['run']],
    [['sweep']],
    [['recipe']],
    [['recipe', 'check']],
    [['recipe', 'presets']],
    [['rewards']],
    [['rewards', 'list']],
    [['rewards', 'test']],
    [['recipe', 'schema']],
    [['data']],
    [['data', 'prepare']],
    [['data', 'show']],
    [['evaluate']],
    [['analyze']],
    [['compare']],
    [['diagnose']],
    [['grade']],
    [['export']],
    [['export', 'answers']],
    [['report']],
    [['runs']],
    [['show']],
    [['prune']],
    [['track']],
    [['track', 'export']],
    [['generate']],
    [['chat']],
    [['merge']],
    [['convert']],
    [['push']],
    [['doctor']],
    [['setup']],
    [['init']],
    [['completion']],
  ])('of reckon %j shows an example and the global options', async (words) => {
    const { stdout } = await execute(process.execPath, [MAIN, ...words, '--help'], {
      cwd: ROOT,
    });
    expect(stdout).toContain(`Example:\n  reckon ${words.join(' ')}`);
    expect(stdout).toContain('--json');
  });

  it('prints the version of the package', () => {
    const { version } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string };
    expect(reckon('--version')).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  });
});

describe('a wrong command line is one sentence and exit code 2', () => {
  it.each([
    ['no command', [], 'Usage: reckon'],
    ['an unknown command', ['rum'], "error: unknown command 'rum' (Did you mean run?); see --help\n"],
    ['half a command', ['recipe'], 'error: a command is missing; see --help\n'],
    ['an unknown option', ['run', 'x', '--frsh'], "error: unknown option '--frsh' (Did you mean --fresh?)"],
    ['a missing argument', ['run'], "error: missing required argument 'recipe'; see --help\n"],
    ['a seed that is no number', ['run', 'x', '--seed', 'two'], 'whole number'],
    [
      'a missing recipe',
      ['run', 'nowhere.yaml'],
      'error: there is no recipe file nowhere.yaml; check the path\n',
    ],
  ])('%s', (_name, words, message) => {
    const { code, stdout, stderr } = reckon(...words);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr).toContain(message);
    if (words.length > 0) expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('has the stack under --debug, and an object on stdout under --json', () => {
    const { code, stdout, stderr } = reckon(
      'recipe',
      'check',
      recipe,
      '--set',
      'sft.stpes=1',
      '--debug',
      '--json',
    );
    expect(code).toBe(2);
    expect(stderr).toMatch(/^error: --set sft\.stpes=1: .*did you mean steps\?\n/);
    expect(stderr).toContain('    at ');
    const { error } = JSON.parse(stdout) as { error: Record<string, string> };
    expect(error).toMatchObject({ category: 'recipe', code: 'recipe-unknown-key' });
  });
});

describe('reckon recipe check', () => {
  it('prints the plan in under a second', async () => {
    const took = await leastMs(1000, () => {
      const { code, stdout } = reckon('recipe', 'check', recipe, '--set', 'sft.steps=7');
      expect(code).toBe(0);
      expect(stdout).toContain('02-sft           7 steps of 64 sequences = 448 sequences');
    });
    // Other tests share the machine.
    expect(took).toBeLessThan(took < 1000 ? 1000 : 1000 * busyness());
  });

  it('prints it as JSON, with the resolved recipe, and nothing under --quiet', () => {
    const { stdout } = reckon('recipe', 'check', recipe, '--json');
    const { plan, recipe: resolved } = JSON.parse(stdout) as Record<string, Record<string, unknown>>;
    expect(plan?.['stages']).toHaveLength(4);
    expect(resolved?.['sampling']).toMatchObject({ temperature: 1 });
    expect(reckon('--quiet', 'recipe', 'check', recipe).stdout).toBe('');
  });

  it('prints the same from the sources, through tsx', () => {
    const words = ['--import', 'tsx', join(ROOT, 'src', 'cli', 'main.ts'), 'recipe', 'check', recipe];
    const { stdout } = spawnSync(process.execPath, words, { cwd: ROOT, encoding: 'utf8' });
    const plan = (text: string): string => text.split('\n\n')[0]!;
    expect(plan(stdout)).toContain('02-sft');
    expect(plan(stdout)).toBe(plan(reckon('recipe', 'check', recipe).stdout));
  });

  it('has a schema for editors, on stdout or in a file', () => {
    const schema = JSON.parse(reckon('recipe', 'schema').stdout) as Record<string, Record<string, unknown>>;
    expect(schema['$schema']).toContain('json-schema.org');
    expect(Object.keys(schema['properties'] ?? {})).toContain('stages');
    const path = join(folder, 'recipe.schema.json');
    expect(reckon('recipe', 'schema', '--out', path).stdout).toContain(`$schema=${path}`);
    expect(JSON.parse(readFileSync(path, 'utf8'))).toEqual(schema);
  });

  it('loads neither libtorch nor a trainer', () => {
    const script = `
      process.argv.push('recipe', 'check', ${JSON.stringify(recipe)});
      await import(${JSON.stringify(MAIN)});
      const loaded = process.report.getReport().sharedObjects.filter((path) => path.includes('torch'));
      console.log('LOADED ' + JSON.stringify(loaded));`;
    const words = ['--input-type=module', '-e', script, 'x'];
    const { stdout } = spawnSync(process.execPath, words, { cwd: ROOT, encoding: 'utf8' });
    expect(stdout).toContain('LOADED []');
  });
});

describe('reckon report', () => {
  it('fails with one sentence where there is no such run', () => {
    const { code, stderr } = reckon('report', 'no-such-run', '--runs-dir', folder);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: Expected a run directory, found nothing at .*no-such-run/);
  });

  it('writes the reports of a run that has only begun', () => {
    const run = join(folder, 'begun');
    mkdirSync(run);
    writeFileSync(join(run, 'recipe.yaml'), FIXTURE_RECIPE);
    const { code, stdout } = reckon('report', 'begun', '--runs-dir', folder, '--json');
    expect(code).toBe(0);
    const { html } = JSON.parse(stdout) as { html: string };
    expect(readFileSync(html, 'utf8')).toContain('<html');
  });
});

describe('reckon doctor', () => {
  it('says the same in words and as JSON, and its exit code is its verdict', () => {
    const { code, stdout } = reckon('doctor', '--json');
    const { ok, facts, problems } = JSON.parse(stdout) as {
      ok: boolean;
      facts: Record<string, string>;
      problems: { problem: string; remedy: string }[];
    };
    expect(code).toBe(ok ? 0 : 1);
    expect(problems.length === 0).toBe(ok);
    expect(facts).toMatchObject({ node: process.version, threads: process.env['RECKON_THREADS'] });
    for (const key of [
      'reckon',
      'libtorch',
      'compiler',
      'cpu',
      'cpu capabilities',
      'devices',
      'cache',
      'disk free',
    ]) {
      expect(facts[key]).toBeTruthy();
    }
  });

  it('says that a GPU lies idle, unless somebody chose so', () => {
    const build = { version: '2.13.0', source: 'pip', lib: '/lib', cuda: false };
    expect(gpuComplaints(build, ['cpu'])).toMatchObject([
      { problem: 'this machine has an NVIDIA GPU, which this libtorch cannot use' },
    ]);
    expect(gpuComplaints({ ...build, cuda: true }, ['cpu'])).toMatchObject([
      { remedy: expect.stringContaining('nvidia-smi') },
    ]);
    expect(gpuComplaints({ ...build, cuda: true }, ['cuda:0', 'cpu'])).toEqual([]);
    const chosen = { ...build, reason: 'a cached copy is there, as RECKON_TORCH=cpu asks' };
    expect(gpuComplaints(chosen, ['cpu'])).toEqual([]);
    expect(gpuComplaints(null, ['cpu'])).toEqual([]);
  });

  it('says what is wrong and what to do', () => {
    const { status, stdout } = spawnSync(process.execPath, [MAIN, 'doctor'], {
      cwd: ROOT,
      encoding: 'utf8',
      env: { ...process.env, RECKON_THREADS: 'many' },
    });
    expect(status).toBe(1);
    expect(stdout).toContain(
      'wrong: RECKON_THREADS is "many"; set it to a whole number of 1 or more, or unset it',
    );
  });
});

it('lives on when the reader of its output goes away', async () => {
  const child = spawn(process.execPath, [MAIN, 'recipe', 'check', recipe], { cwd: ROOT });
  child.stdout.destroy();
  let stderr = '';
  child.stderr.on('data', (data: Buffer) => {
    stderr += data.toString();
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  expect([code, stderr]).toEqual([0, '']);
});
