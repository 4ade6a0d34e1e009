/** Owns the tests of `reckon data`, as a person runs it. */

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'reckon-data-cli-'));

function data(...words: string[]): { code: number | null; stdout: string; stderr: string } {
  const main = join(ROOT, 'dist', 'cli', 'main.js');
  const { status, stdout, stderr } = spawnSync(process.execPath, [main, 'data', ...words], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return { code: status, stdout, stderr };
}

const linesOf = (path: string): unknown[] =>
  readFileSync(path, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);

describe('reckon data prepare', () => {
  it('sums up a task, shows samples and writes problems and demonstrations', () => {
    const out = join(folder, 'sums');
    const set = [
      '--set',
      'count=60',
      '--set',
      'test=20',
      '--set',
      'validation=10',
      '--set',
      'operators=["*"]',
    ];
    const { code, stdout, stderr } = data('prepare', 'arithmetic', ...set, '--show', '2', '--out', out);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/^train +30 /m);
    expect(stdout).toMatch(/^test: 0 of 20 questions are also trained on, and 0 but for spelling$/m);
    expect(stdout.match(/^--- arithmetic\//gm)).toHaveLength(2);
    const demonstrations = linesOf(join(out, 'demonstrations', 'train.jsonl')) as {
      prompt: string;
      completion: string;
    }[];
    expect(demonstrations).toHaveLength(30);
    expect(stdout).toContain(`${demonstrations[0]!.prompt}\u27e6${demonstrations[0]!.completion}\u27e7`);
    expect(linesOf(join(out, 'test.jsonl'))).toHaveLength(20);
    const summary = JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8')) as Record<string, unknown>;
    expect(summary).toMatchObject({
      version: 1,
      unit: 'characters',
      parts: { validation: { problems: 10 } },
      notes: [],
    });
  });

  it('takes any file, counts its malformed rows, and finds what is trained and tested on', () => {
    const file = join(folder, 'all.csv');
    const rows = ['q,a', ...Array.from({ length: 8 }, (_, i) => `Is it ${i}?,${i}`), 'short', 'is it 3,3'];
    writeFileSync(file, `${rows.join('\n')}\n`);
    const columns = ['--set', 'columns={question: q, answer: a}'];
    const splits = ['--set', "splits={train: 'train[:7]', validation: 0, test: 'train[7:]'}"];
    const refused = data('prepare', 'file', '--path', file, ...columns, ...splits);
    expect([refused.code, refused.stderr]).toEqual([
      1,
      expect.stringContaining(`${file}:10, column "a": expected 2`),
    ]);
    const { code, stdout } = data(
      'prepare',
      'file',
      '--path',
      file,
      ...columns,
      ...splits,
      '--skip-bad',
      '--json',
    );
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({
      parts: { train: { problems: 7 }, test: { problems: 2 } },
      contamination: { test: { tested: 2, exact: 0, normalised: 1 } },
      notes: [
        'file: 1 of 2 test questions are also trained on (1 of them but for spelling).',
        '1 malformed row was left out.',
      ],
    });
  });

  it('names a wrong key, and the nearest one', () => {
    const { code, stderr } = data('prepare', 'gsm8k', '--set', 'promt=boxed');
    expect([code, stderr]).toEqual([
      2,
      'error: --set task.promt=boxed: task.promt is not a known key; did you mean prompt?\n',
    ]);
  });

  it('writes the chains of thought of the 24 game, the same from the same seed', () => {
    const [one, two] = [join(folder, 'one'), join(folder, 'two')];
    const words = ['prepare', 'game24-traces', '--seed', '5', '--set', 'subset=2', '--out'];
    const { code, stdout } = data(...words, one);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^2 puzzles, \d+ different traces, \d+ duplicates left out; tokens of Qwen2\.5$/m);
    expect(stdout).toContain('reach 24! expression: ');
    data(...words, two);
    expect(readdirSync(one)).toHaveLength(7);
    for (const name of readdirSync(one)) {
      expect(readFileSync(join(two, name), 'utf8')).toBe(readFileSync(join(one, name), 'utf8'));
    }
    expect(data('prepare', 'game24-traces', '--set', 'format=v1').stderr).toContain('found --set format=v1');
  });
});

describe('reckon data show', () => {
  it('tells splits, columns, rows and what is malformed', () => {
    const file = join(folder, 'some-test.jsonl');
    writeFileSync(file, '{"q": "One?", "n": 1}\n{"q": "Two?", "n": [2]}\nnonsense\n');
    const { code, stdout } = data('show', file, '--skip-bad', '--split', 'test[1:]', '--json');
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      splits: { test: 2 },
      rows: 1,
      columns: [
        { name: 'q', kinds: ['text'], rows: 1, longest: 4 },
        { name: 'n', kinds: ['list'], rows: 1, longest: null },
      ],
      malformed: [`${file}:3:1: expected valid JSON, found "nonsense"`],
      samples: [{ q: 'Two?', n: [2] }],
    });
    const text = data('show', file, '--skip-bad', '--show', '1').stdout;
    expect(text).toContain('rows: test 2');
    expect(text).toContain(`--- ${file}:1\nq: One?\nn: 1`);
    expect(text).toContain('1 malformed row, left out:');
    expect(data('show', file).stderr).toContain(`${file}:3:1: expected valid JSON`);
  });
});
