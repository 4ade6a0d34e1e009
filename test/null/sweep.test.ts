import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { writeSweepReport } from '../../src/report/index.ts';
import { type PointOutcome, parseAxis, runSweep, sweepPoints } from '../../src/run/index.ts';
import { FIXTURE_RECIPE } from './run-fixture.ts';

describe('the runs of a sweep', () => {
  it('are the product of grids with the places of lists, named by their values', () => {
    const points = sweepPoints(
      [parseAxis('sft.learningRate=1e-3,3e-4')],
      [parseAxis('sft.steps=10,20'), parseAxis('sft.optimizerBatch=8,4')],
    );
    expect(points.map(({ set }) => Object.values(set))).toEqual([
      ['10', '8', '1e-3'],
      ['10', '8', '3e-4'],
      ['20', '4', '1e-3'],
      ['20', '4', '3e-4'],
    ]);
    expect(points[0]!.name).toBe('steps-10_optimizerBatch-8_learningRate-1e-3');
  });

  it('take lists and mappings as values, and whole keys in names where the last parts are equal', () => {
    const axis = parseAxis('grpo.betas=[0.9, 0.95],[0.9, 0.99]');
    expect(axis.values).toEqual(['[0.9, 0.95]', '[0.9, 0.99]']);
    const points = sweepPoints([axis, parseAxis('sft.betas=[0.5, 0.5]')], []);
    expect(points[1]!.name).toBe('grpo.betas-0.9-0.99_sft.betas-0.5-0.5');
    for (const { name } of points) expect(name).toMatch(/^[A-Za-z0-9][A-Za-z0-9._-]*$/);
  });

  it('name entries of lists, and long settings by their hash', () => {
    const names = (...axes: string[]): string[] =>
      sweepPoints(axes.map(parseAxis), []).map(({ name }) => name);
    expect(names('sft.betas[0]=0.8,0.9')).toEqual(['betas.0-0.8', 'betas.0-0.9']);
    expect(names('a.r[0].w=1', 'a.r[1].w=1')).toEqual(['a.r.0.w-1_a.r.1.w-1']);
    const long = names(`a=${'x'.repeat(120)}1,${'x'.repeat(120)}2`);
    expect(new Set(long).size).toBe(2);
    for (const name of long) expect(name).toMatch(/^a-x{89}-[0-9a-f]{8}$/);
  });

  it.each([
    [() => sweepPoints([parseAxis('a=x/y,x-y')], []), 'x/y and x-y would both lie in the folder a-x-y'],
    [() => parseAxis('steps'), 'expected key=value,value'],
    [() => parseAxis('sft.steps=1,,2'), 'expected key=value,value'],
    [() => parseAxis('sft.steps=1,2,1'), 'sft.steps has the value 1 twice'],
    [() => parseAxis('sft.steps={a'), 'is not YAML'],
    [() => sweepPoints([], []), 'a sweep needs a key to go over'],
    [
      () => sweepPoints([], [parseAxis('a=1,2'), parseAxis('b=1')]),
      'a has 2 values and b 1; give all as many',
    ],
    [() => sweepPoints([parseAxis('a=1')], [parseAxis('a=1')]), 'a is swept twice'],
  ])('that make no sense are one sentence %#', (make, message) => {
    expect(make).toThrow(message);
  });
});

describe('runSweep', () => {
  const points = sweepPoints([parseAxis('x=1,2,3,4')], []);
  const script = `const [x, file] = process.argv.slice(1);
    require('fs').appendFileSync(file, '+');
    setTimeout(() => { require('fs').appendFileSync(file, '-');
      if (x === '2') { console.error('error: two is too many\\n'); process.exit(1); }
      process.exit(x === '4' ? 130 : 0); }, 1000);`;

  async function go(jobs: number): Promise<{ outcomes: PointOutcome[]; most: number }> {
    const file = join(mkdtempSync(join(tmpdir(), 'reckon-sweep-')), 'marks');
    const outcomes = await runSweep(points, {
      jobs,
      env: {},
      stopRequested: () => false,
      command: ({ set }) => [process.execPath, '-e', script, set['x']!, file],
    });
    let now = 0;
    const counts = [...readFileSync(file, 'utf8')].map((mark) => (now += mark === '+' ? 1 : -1));
    return { outcomes, most: Math.max(...counts) };
  }

  it('does them in order or some at once, and goes on after one that failed', async () => {
    const [one, three] = await Promise.all([go(1), go(3)]);
    expect(one.most).toBe(1);
    expect(three.most).toBeGreaterThan(1);
    expect(three.most).toBeLessThanOrEqual(3);
    for (const { outcomes } of [one, three]) {
      expect(outcomes.map(({ status }) => status)).toEqual(['done', 'failed', 'done', 'stopped']);
      expect(outcomes[1]!.error).toBe('two is too many');
    }
  });

  it('counts a run as stopped that a signal ended before it could listen', async () => {
    const outcomes = await runSweep(points.slice(0, 2), {
      jobs: 2,
      env: {},
      stopRequested: () => false,
      command: ({ set }) => {
        const signal = set['x'] === '1' ? 'SIGINT' : 'SIGKILL';
        return [
          process.execPath,
          '-e',
          `process.kill(process.pid, '${signal}'); setInterval(() => {}, 1000)`,
        ];
      },
    });
    expect(outcomes.map(({ status }) => status)).toEqual(['stopped', 'failed']);
    expect(outcomes[1]!.error).toBe('it ended with SIGKILL');
  });

  it('starts none after a stop', async () => {
    let stopped = false;
    const outcomes = await runSweep(points, {
      jobs: 1,
      env: {},
      stopRequested: () => stopped,
      command: () => [process.execPath, '-e', ''],
      ended: () => {
        stopped = true;
      },
    });
    expect(outcomes).toHaveLength(1);
  });
});

describe('the report of a sweep', () => {
  const sample = JSON.parse(readFileSync('test/null/samples/evaluation-v1.json', 'utf8')) as object;

  function folderOf(runs: Readonly<Record<string, readonly [label: string, mean: number][]>>): string {
    const folder = mkdtempSync(join(tmpdir(), 'reckon-sweep-report-'));
    for (const [name, evaluations] of Object.entries(runs)) {
      const run = join(folder, name);
      mkdirSync(join(run, 'evaluations'), { recursive: true });
      const stages = evaluations.map(([label]) => `  - {type: evaluate, label: ${label}}\n`).join('');
      writeFileSync(
        join(run, 'recipe.yaml'),
        FIXTURE_RECIPE.replace('  - {type: evaluate, label: sft}\n', stages),
      );
      for (const [label, mean] of evaluations) {
        const passAt1 = { mean, low: mean - 0.05, high: mean + 0.05 };
        writeFileSync(
          join(run, 'evaluations', `${label}.json`),
          JSON.stringify({
            ...sample,
            label,
            passAt1,
            checkpoint: `0${label === 'sft' ? 2 : 4}-${label}/checkpoints/step-000001`,
          }),
        );
      }
    }
    return folder;
  }

  const done = (
    name: string,
    set: Record<string, string>,
  ): { name: string; set: Record<string, string>; status: string; error: null } => ({
    name,
    set,
    status: 'done',
    error: null,
  });

  it('has a row a run, and one chart with a line a stage', () => {
    const folder = folderOf({
      a: [
        ['sft', 0.1],
        ['grpo', 0.3],
      ],
      b: [
        ['sft', 0.2],
        ['grpo', 0.5],
      ],
    });
    const runs = [
      done('a', { 'sft.size': '128' }),
      done('b', { 'sft.size': '1024' }),
      { name: 'c', set: { 'sft.size': '2' }, status: 'failed', error: 'no' },
    ];
    const { table, chartPath, markdownPath } = writeSweepReport(folder, {
      name: 's',
      keys: ['sft.size'],
      runs,
    });
    expect(table).toContain('50.0 % [45.0 %, 55.0 %]');
    const text = readFileSync(markdownPath, 'utf8');
    expect(text).toContain('- c failed: no');
    expect(text).toMatch(/\| sft\.size \|[^|]+\| grpo \|\n/);
    const svg = readFileSync(chartPath, 'utf8');
    expect(svg).toContain('log10 of sft.size');
    expect(svg.match(/class="dot"/g)).toHaveLength(4);
    expect(svg).toContain('>grpo</text>');
    const summary = JSON.parse(readFileSync(join(folder, 'sweep.json'), 'utf8')) as {
      runs: { evaluations: unknown[] }[];
    };
    expect(summary.runs.map((run) => run.evaluations.length)).toEqual([2, 2, 0]);
  });

  it('draws seeds as their mean and range', () => {
    const folder = folderOf({ a: [['sft', 0.1]], b: [['sft', 0.3]], c: [['sft', 0.4]] });
    const runs = [
      done('a', { size: '1', seed: '1' }),
      done('b', { size: '1', seed: '2' }),
      done('c', { size: '2', seed: '1' }),
    ];
    const { chartPath } = writeSweepReport(folder, { name: 's', keys: ['seed', 'size'], runs });
    const svg = readFileSync(chartPath, 'utf8');
    expect(svg.match(/class="dot"/g)).toHaveLength(2);
    expect(svg).toContain('s: pass@1 by size: sft from 20 % to 40 %');
  });

  it('has a line for each value of a second key, and words side by side', () => {
    const folder = folderOf({ a: [['sft', 0.1]], b: [['sft', 0.2]] });
    const runs = [done('a', { preset: 'grpo', rate: '1' }), done('b', { preset: 'dapo', rate: '2' })];
    const { chartPath } = writeSweepReport(folder, { name: 's', keys: ['preset', 'rate'], runs });
    const svg = readFileSync(chartPath, 'utf8');
    expect(svg).toContain('preset: 1 grpo, 2 dapo');
    expect(svg).toContain('>rate 1</text>');
  });
});
