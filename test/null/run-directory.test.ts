import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it } from 'vitest';
import { parseRecipe, type Recipe } from '../../src/recipe/index.ts';
import {
  acquireLock,
  type Environment,
  executeRun,
  lockHolder,
  openRun,
  openRunLog,
  type RunResult,
  readRunRecipe,
  readStageRecord,
  settleEnvironment,
} from '../../src/run/index.ts';
import { FIXTURE_RECIPE, fixtureFunctions } from './run-fixture.ts';

const COMPUTE = { device: 'cpu', dtype: 'f32', threads: 1, kernels: 'none' } as const;
const FIXTURE = fileURLToPath(new URL('run-fixture.ts', import.meta.url));

let runs: string;
let lines: string;

beforeEach(() => {
  runs = mkdtempSync(join(tmpdir(), 'reckon-runs-'));
  lines = '';
});

const stream = {
  write(text: string): void {
    lines += text;
  },
};

function execute(
  recipe: string | Recipe,
  options: { fresh?: boolean; allowInexact?: boolean } = {},
): Promise<RunResult> {
  const parsed = typeof recipe === 'string' ? parseRecipe(recipe, 'r.yaml') : recipe;
  return executeRun(parsed, {
    runsDirectory: runs,
    stream,
    powercap: join(runs, 'no-counters'),
    ...options,
    load: async () => ({ stageFunctions: fixtureFunctions(0), resolveCompute: async () => COMPUTE }),
  });
}

type Child = ChildProcessByStdio<null, Readable, Readable>;

/** A second real process that runs the fixture recipe. */
function start(delay: number): { child: Child; output: () => string; until(text: string): Promise<void> } {
  const child = spawn(process.execPath, ['--import', 'tsx', FIXTURE, runs, String(delay)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const part of [child.stdout, child.stderr]) {
    part.on('data', (data: Buffer) => {
      output += data.toString();
    });
  }
  const until = async (text: string): Promise<void> => {
    while (!output.includes(text)) {
      if (child.exitCode !== null) throw new Error(`ended before ${text}: ${output}`);
      await sleep(5);
    }
  };
  return { child, output: () => output, until };
}

const tiny = (): string => join(runs, 'tiny');

describe('executeRun', () => {
  it('writes the run directory and leaves no lock', async () => {
    const result = await execute(FIXTURE_RECIPE);
    expect(result.status).toBe('done');
    expect(readdirSync(tiny()).sort()).toEqual([
      '01-prepare',
      '02-sft',
      '03-evaluate-sft',
      '04-report',
      'environment.json',
      'evaluations',
      'recipe.yaml',
      'report.md',
      'run.log',
      'time.json',
    ]);
    expect(readRunRecipe(tiny())).toEqual(parseRecipe(FIXTURE_RECIPE, 'r.yaml'));
    expect(readStageRecord(join(tiny(), '02-sft'))).toMatchObject({
      status: 'done',
      type: 'sft',
      parent: '01-prepare/model',
      output: '02-sft/model',
    });
    const log = readFileSync(join(tiny(), 'run.log'), 'utf8');
    expect(log).toContain(`evaluating ${join(tiny(), '02-sft', 'model')}`);
    expect(log).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z step 5$/m);
  });

  it('skips finished stages, one line each, and adds up the seconds', async () => {
    const first = await execute(FIXTURE_RECIPE);
    lines = '';
    const second = await execute(FIXTURE_RECIPE);
    expect(lines.match(/done already/g)).toHaveLength(4);
    expect(lines).not.toContain('step 1');
    expect(second.seconds).toBeGreaterThan(first.seconds);
  });

  it('runs a finished stage again whose output is gone', async () => {
    await execute(FIXTURE_RECIPE);
    rmSync(join(tiny(), '01-prepare', 'model'), { recursive: true });
    lines = '';
    await execute(FIXTURE_RECIPE);
    expect(lines).toContain('01-prepare: resumed');
    expect(existsSync(join(tiny(), '01-prepare', 'model'))).toBe(true);
  });

  it('takes stages that were added at the end, and makes the report again', async () => {
    await execute(FIXTURE_RECIPE);
    lines = '';
    await execute(FIXTURE_RECIPE.replace('  - type: report', '  - {type: grpo, steps: 2}\n  - type: report'));
    expect(lines).toContain('02-sft: done already');
    expect(lines).toContain('05-report: done');
    expect(readdirSync(tiny())).not.toContain('04-report');
  });

  it('refuses a changed recipe, names the key, and changes nothing', async () => {
    await execute(FIXTURE_RECIPE);
    const before = readFileSync(join(tiny(), 'recipe.yaml'), 'utf8');
    const changed = execute(FIXTURE_RECIPE.replace('steps: 5', 'steps: 6'));
    await expect(changed).rejects.toThrow(
      'the recipe has changed since 02-sft ran: stages[1].steps was 5 and is 6; --extend goes on',
    );
    await expect(changed).rejects.toMatchObject({ category: 'run', code: 'recipe-changed' });
    expect(readFileSync(join(tiny(), 'recipe.yaml'), 'utf8')).toBe(before);
    expect(existsSync(join(tiny(), 'run.lock'))).toBe(false);
    await expect(execute(FIXTURE_RECIPE.replace('  - {type: evaluate, label: sft}\n', ''))).rejects.toThrow(
      '03-evaluate-sft ran: that stage is not in the recipe any more',
    );
  });

  it('does not mind a change that no finished stage depends on', async () => {
    await execute(FIXTURE_RECIPE);
    const result = await execute(`${FIXTURE_RECIPE}checkpoints: {every: 7}\n`);
    expect(result.status).toBe('done');
    expect(readRunRecipe(tiny())?.checkpoints.every).toBe(7);
  });

  it('starts again with --fresh', async () => {
    await execute(FIXTURE_RECIPE);
    lines = '';
    await execute(FIXTURE_RECIPE.replace('steps: 5', 'steps: 6'), { fresh: true });
    expect(lines).toContain('step 6');
    expect(lines).not.toContain('done already');
  });

  it('lets go of the lock and keeps the reason when a stage fails', async () => {
    const failing = executeRun(parseRecipe(FIXTURE_RECIPE, 'r.yaml'), {
      runsDirectory: runs,
      stream,
      load: async () => {
        throw new Error('no libtorch');
      },
    });
    await expect(failing).rejects.toThrow('no libtorch');
    expect(existsSync(join(tiny(), 'run.lock'))).toBe(false);
    expect(readFileSync(join(tiny(), 'run.log'), 'utf8')).toContain('failed: no libtorch');
  });
});

describe('a run in a process of its own', () => {
  it('stops at the end of the step on SIGINT, and goes on from there', async () => {
    const { child, output, until } = start(60);
    await until('step 2');
    child.kill('SIGINT');
    expect(await once(child, 'close')).toEqual([130, null]);
    expect(output()).toContain('stopping at the end of this step');
    expect(readStageRecord(join(tiny(), '02-sft'))?.status).toBe('stopped');
    await execute(FIXTURE_RECIPE);
    expect(lines).toContain('01-prepare: done already');
    expect(lines).toContain('02-sft: resumed');
    expect(lines).not.toContain('step 2');
    expect(lines).toContain('step 5');
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('leaves at once on a second %s, and takes two in one moment for one', async (signal, code) => {
    const { child, until } = start(60_000);
    await until('02-sft: started');
    child.kill(signal);
    child.kill(signal === 'SIGINT' ? 'SIGTERM' : 'SIGINT');
    await until('stopping at the end');
    await sleep(400);
    expect(child.exitCode).toBeNull();
    const closed = once(child, 'close');
    // On a busy machine the moment of the first two may last longer.
    for (; child.exitCode === null && child.signalCode === null; await sleep(50)) child.kill(signal);
    expect(await closed).toEqual([code, null]);
    expect(existsSync(join(tiny(), 'run.lock'))).toBe(false);
  });

  it('is protected from a second process, which names the first', async () => {
    const { child, until } = start(60_000);
    await until('02-sft: started');
    await expect(execute(FIXTURE_RECIPE)).rejects.toThrow(`in use by process ${child.pid} on ${hostname()}`);
    await expect(execute(FIXTURE_RECIPE, { fresh: true })).rejects.toMatchObject({ code: 'run-locked' });
    expect(existsSync(join(tiny(), '01-prepare', 'stage.json'))).toBe(true);
    expect(lockHolder(tiny())?.pid).toBe(child.pid);
    child.kill('SIGKILL');
    await once(child, 'close');
  });

  it('is resumed after kill -9, its lock taken over', async () => {
    const { child, until } = start(60);
    await until('step 2');
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(existsSync(join(tiny(), 'run.lock'))).toBe(true);
    expect(lockHolder(tiny())).toBeNull();
    // Killed a moment earlier or later it leaves these too; the third is a live process's, which is about to be refused.
    const aside = [
      `.run.lock.tmp-${child.pid}-0`,
      `run.lock.stale-${child.pid}`,
      `.run.lock.tmp-${process.ppid}-0`,
    ];
    for (const name of aside) writeFileSync(join(tiny(), name), '');
    const result = await execute(FIXTURE_RECIPE);
    expect(result.status).toBe('done');
    expect(lines).toContain(`process ${child.pid} held this run and has died; taking over`);
    expect(aside.map((name) => existsSync(join(tiny(), name)))).toEqual([false, false, true]);
    expect(lines).not.toContain('step 2\n');
  });
});

describe('the lock', () => {
  const write = (holder: object): void => writeFileSync(join(runs, 'run.lock'), JSON.stringify(holder));

  it('is one a process too', () => {
    const lock = acquireLock(runs);
    expect(() => acquireLock(runs)).toThrow(`process ${process.pid}`);
    lock.release();
    lock.release();
    acquireLock(runs).release();
  });

  it('tells a process from an older one with the same number', () => {
    const lock = acquireLock(runs);
    const older = { ...lock.holder, processStart: 'another boot 1' };
    lock.release();
    write(older);
    const taken = acquireLock(runs);
    expect(taken.takenFrom).toEqual(older);
    taken.release();
    expect(readdirSync(runs)).toEqual([]);
  });

  it('of another host is never taken over', () => {
    write({ version: 1, pid: 1, host: 'elsewhere', processStart: null, startedAt: '2026-01-01T00:00:00Z' });
    expect(() => acquireLock(runs)).toThrow('process 1 on elsewhere');
  });

  it('that cannot be read is an error with what to do', () => {
    writeFileSync(join(runs, 'run.lock'), 'mine');
    expect(() => acquireLock(runs)).toThrow('is not a lock that reckon wrote');
  });
});

describe('openRun', () => {
  it('refuses folders that are no run, with and without --fresh, and touches nothing', () => {
    mkdirSync(join(runs, 'home', 'photos'), { recursive: true });
    for (const fresh of [false, true]) {
      expect(() => openRun({ runsDirectory: runs, name: 'home', fresh })).toThrow('holds photos');
    }
    expect(readdirSync(join(runs, 'home'))).toEqual(['photos']);
  });

  it('refuses --fresh where a run holds something of somebody else', async () => {
    await execute(FIXTURE_RECIPE);
    writeFileSync(join(tiny(), 'notes.txt'), 'mine');
    expect(() => openRun({ runsDirectory: runs, name: 'tiny', fresh: true })).toThrow('notes.txt');
    const run = openRun({ runsDirectory: runs, name: 'tiny' });
    expect(run.previousRecipe?.name).toBe('tiny');
    run.lock.release();
  });
});

describe('settleEnvironment', () => {
  const current: Environment = {
    version: 1,
    reckon: '0.1.0',
    node: 'v20',
    libtorch: '2.13.0',
    platform: 'linux x64',
    cpu: 'A',
    capabilities: ['avx2'],
    seed: 0,
    ...COMPUTE,
  };
  const settle = (environment: Environment, allowInexact = false): Environment =>
    settleEnvironment(runs, environment, { allowInexact, log: (line) => stream.write(line) });

  it('keeps the dtype and threads of the first start', () => {
    settle(current);
    expect(settle({ ...current, dtype: 'bf16', threads: 8 })).toEqual(current);
  });

  it('refuses another machine unless told otherwise', () => {
    settle(current);
    const other = { ...current, cpu: 'B' };
    expect(() => settle(other)).toThrow('cpu was A and is B');
    expect(settle(other, true).threads).toBe(1);
    expect(lines).toContain('going on because of --allow-inexact');
  });
});

describe('openRunLog', () => {
  it('keeps whole lines without terminal codes, and prints nothing when quiet', () => {
    const path = join(runs, 'run.log');
    const log = openRunLog(path, { stream, quiet: true });
    log.log('plain');
    log.stream.write('\r\u001b[2Ksft 1/2');
    log.stream.write('\r\u001b[2Ksft 2/2\n');
    log.close();
    const kept = readFileSync(path, 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.slice(25));
    expect(kept).toEqual(['plain', 'sft 1/2', 'sft 2/2']);
    expect(lines).toBe('');
  });

  it('clears an open progress line before a log line', () => {
    const log = openRunLog(join(runs, 'run.log'), { stream });
    log.stream.write('\r\u001b[2Ksft 1/2');
    log.log('note');
    expect(lines).toBe('\r\u001b[2Ksft 1/2\r\u001b[2Knote\n');
  });
});
