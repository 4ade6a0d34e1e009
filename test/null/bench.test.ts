import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { summary } from '../../bench/measure.ts';
import {
  type BenchResult,
  earlierResult,
  parseResult,
  type RowResult,
  stillCounts,
  verdictOf,
  writeResult,
} from '../../bench/results.ts';
import { groups, rows } from '../../bench/rows.ts';
import { formatResult } from '../../bench/show.ts';
import { Python } from '../../bench/side.ts';
import { models, tiny, tokensOf, weightBytes } from '../../bench/works.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

function bench(...words: string[]) {
  return spawnSync(process.execPath, ['--import', 'tsx', 'bench/main.ts', ...words], {
    cwd: ROOT,
    encoding: 'utf8',
  });
}

const row: RowResult = {
  id: 'grpo',
  what: 'a step',
  measured: '2026-01-02T03:04:05.000Z',
  unit: 's',
  ours: summary([1, 2, 1.5]),
  theirs: summary([3, 9]),
  variant: 'f32',
  tried: { f32: 3, bf16: 4 },
  ratio: summary([2, 6]),
  atLeast: 4,
  aim: 8,
  verdict: 'reaches at least',
  why: null,
  parts: { rollouts: 0.5 },
  theirParts: {},
};
const result: BenchResult = {
  version: 2,
  date: '2026-01-02T03:04:05.000Z',
  commit: 'abc1234',
  machine: { cpu: 'some', cores: 2, threads: 2, kernels: 'avx2' },
  peer: { torch: '2.13.0' },
  repeats: 5,
  limits: { read: summary([30, 31]) },
  rows: [row],
  measurements: [{ name: 'door', unit: 'us', ...summary([0.8]) }],
};

describe('the rows of npm run bench', () => {
  it('are those of the table with their bounds, each under a name of its own', () => {
    const bounds = Object.fromEntries(
      rows.filter((one) => one.aim !== null).map(({ id, atLeast, aim }) => [id, [atLeast, aim]]),
    );
    expect(bounds).toEqual({
      'half-16': [4, 6],
      'half-1': [2, 2.5],
      'half-64': [5, 8],
      'half-spread': [6, 10],
      'small-64': [5, 10],
      grpo: [4, 8],
      lora: [1.5, 2.5],
      memory: [0.6, 0.4],
      'decode-limit': [0.52, 0.78],
    });
    expect(groups['table']).toEqual(Object.keys(bounds));
    expect(new Set(rows.map(({ id }) => id)).size).toBe(rows.length);
  });

  it('count the tokens and the weights that they say', () => {
    const tokens = Object.fromEntries(rows.map(({ id, work }) => [id, tokensOf(work)]));
    expect(tokens).toMatchObject({
      'half-16': 1024,
      'half-spread': 2176,
      grpo: 8192,
      lora: 1024,
      memory: 4096,
    });
    // Qwen2.5-0.5B has 494,032,768 parameters, of which biases and norms are 71,552.
    expect(weightBytes(models.half, 2)).toBe(2 * (494_032_768 - 71_552));
    for (const { work } of rows) expect(tokensOf(tiny(work))).toBeLessThan(tokensOf(work));
  });

  it('judge wins and losses alike', () => {
    const speed = { measure: 'speed', atLeast: 4, aim: 6 } as const;
    expect([6, 4, 3.9, 0.9, null].map((ratio) => verdictOf(speed, ratio))).toEqual([
      'reaches the aim',
      'reaches at least',
      'MISSED',
      'LOST',
      'not compared',
    ]);
    const memory = { measure: 'memory', atLeast: 0.6, aim: 0.4 } as const;
    expect([0.4, 0.6, 0.7, 1.1].map((ratio) => verdictOf(memory, ratio))).toEqual([
      'reaches the aim',
      'reaches at least',
      'MISSED',
      'LOST',
    ]);
    expect(verdictOf({ measure: 'bandwidth', atLeast: 0.52, aim: 0.78 }, 0.5)).toBe('MISSED');
    expect(verdictOf({ ...speed, atLeast: null, aim: null }, 3)).toBe('no bound');
  });
});

describe('the result', () => {
  it('is read back as it was written, by its commit', () => {
    const folder = mkdtempSync(join(tmpdir(), 'reckon-bench-'));
    const path = writeResult(folder, result);
    expect(path.endsWith('2026-01-02-abc1234.json')).toBe(true);
    expect(earlierResult(folder, 'abc1234')).toEqual(result);
    expect(earlierResult(folder, 'bc1234')).toBeNull();
    expect(earlierResult(join(folder, 'none'), 'abc1234')).toBeNull();
    expect(() => parseResult({ ...result, rows: [{ ...row, verdict: 'fine' }] })).toThrow();
    expect(() => parseResult({ ...result, extra: 1 })).toThrow();
    rmSync(folder, { recursive: true });
  });

  it('of another machine, of fewer repeats or without the other side is measured again', () => {
    expect(stillCounts(row, result, result)).toBe(true);
    expect(stillCounts(row, result, { ...result, repeats: 6 })).toBe(false);
    expect(stillCounts(row, result, { ...result, machine: { ...result.machine, kernels: 'off' } })).toBe(
      false,
    );
    const alone = { ...row, ratio: null };
    expect(stillCounts(alone, result, result)).toBe(false);
    expect(stillCounts(alone, result, { ...result, peer: {} })).toBe(true);
    expect(stillCounts({ ...row, ours: null }, result, result)).toBe(false);
  });

  it('shows medians, bounds, what was tried and the limits', () => {
    const text = formatResult(result);
    expect(text).toMatch(/a step +1\.5 +6 +s +4 x +2 x +6 x +4 x +8 x +reaches at least/);
    expect(text).toContain('grpo: theirs: f32 (fastest of f32 3.0 s, bf16 4.0 s)');
    expect(text).toMatch(/reading memory, GB\/s +30\.5 +30 +31/);
    expect(formatResult({ ...result, rows: [{ ...row, why: 'no trl' }] })).toContain('not compared: no trl');
  });

  it('of every committed run of this format is still read', () => {
    for (const name of readdirSync(join(ROOT, 'bench/results'))) {
      const json = JSON.parse(readFileSync(join(ROOT, 'bench/results', name), 'utf8')) as { version: number };
      if (json.version === 2) expect(() => parseResult(json), name).not.toThrow();
      else expect(json.version, name).toBe(1);
    }
  });
});

describe('the command', () => {
  it('explains itself with an example, and names what it does not know', () => {
    const help = bench('--help');
    expect([help.status, help.stderr]).toEqual([0, '']);
    expect(help.stdout).toContain('Example:\n  RECKON_BENCH_PYTHON=');
    const list = bench('--list');
    for (const { id } of rows) expect(list.stdout).toContain(id);
    const wrong = bench('half-17');
    expect(wrong.status).toBe(2);
    expect(wrong.stderr).toContain("found 'half-17'");
  });

  it('says which libraries a Python lacks', () => {
    const none = new Python(join(tmpdir(), 'no-such-python'));
    expect(none.missingFor('grpo')).toMatch(/no-such-python cannot be run$/);
    expect(none.versions).toEqual({});
  });
});
