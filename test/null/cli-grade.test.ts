import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'reckon-grade-'));

function reckonGrade(input: string, ...words: string[]) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(ROOT, 'dist/cli/main.js'), 'grade', ...words],
    { input, encoding: 'utf8', cwd: ROOT },
  );
  return {
    status,
    stderr,
    rows: stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line)),
  };
}

const ROWS = [
  { id: 1, prediction: 'so \\boxed{\\frac{\\sqrt{12}}{4}}', reference: '\\sqrt{3}/2' },
  { id: 2, prediction: '#### 1,234', reference: 1234 },
  { id: 3, prediction: '\\boxed{(1,2)}', reference: ['(2,1)', '(1,3)'] },
  { id: 4, prediction: '5', reference: '\\frac{' },
];
const lines = (rows: readonly object[]) => rows.map((row) => JSON.stringify(row)).join('\n');

describe('reckon grade', () => {
  it('writes each row in order with verdict, score, extracted and reason, and totals at the end', () => {
    const { status, rows, stderr } = reckonGrade(lines(ROWS), '-');
    expect(status).toBe(0);
    expect(rows.map(({ id, verdict, score }) => [id, verdict, score])).toEqual([
      [1, 'correct', 1],
      [2, 'correct', 1],
      [3, 'incorrect', 0],
      [4, 'unverifiable', null],
    ]);
    expect(rows[0]).toMatchObject({ extracted: '\\frac{\\sqrt{12}}{4}', reason: 'symbolic' });
    expect(stderr).toMatch(
      /4 rows: 2 correct, 1 incorrect, 1 unverifiable \(50.0 % correct\), \d+ rows a second/,
    );
  });

  it('reads the rows of an evaluation, whose own verdict it replaces', () => {
    const row = { problemId: 'a', completion: 'so #### 12', solution: '12', verdict: 'incorrect' };
    const { status, rows } = reckonGrade(lines([row]), '-', '--profile', 'seed-unified');
    expect([status, rows[0].verdict]).toEqual([0, 'correct']);
  });

  it.each([
    [{ answer_text: '12', ground_truth_text: '12.0' }, 'correct'],
    [{ answer_num: 11, ground_truth_num: 12 }, 'incorrect'],
    [{ response: 'so \\boxed{12}', answer_text: 'none', ground_truth: '12' }, 'correct'],
    [{ output: '#### 12', question: 'q', answer: '12' }, 'correct'],
    [{ response: '12', reference: '13', solution: '12' }, 'incorrect'],
  ])('reads the columns of other projects, as in %j', (row, verdict) => {
    const { status, rows } = reckonGrade(lines([row]), '-');
    expect([status, rows[0]]).toMatchObject([0, { ...row, verdict }]);
  });

  it('names the columns that it looks for where a row has none of them', () => {
    const { stderr } = reckonGrade('{"said": "1", "answer": "1"}', '-');
    expect(stderr).toContain(
      'expected a text in one of prediction, completion, response, output, answer_text, answer_num, found the columns said, answer',
    );
    expect(reckonGrade('{"response": "1", "answer": {}}', '-').stderr).toContain(
      'in answer, found object; fix the row',
    );
  });

  it('writes to a file and takes a profile', () => {
    const [input, out] = [join(folder, 'in.jsonl'), join(folder, 'out.jsonl')];
    writeFileSync(input, lines(ROWS));
    const { status, rows } = reckonGrade('', input, '--profile', 'gsm8k-strict', '--out', out);
    expect([status, rows]).toEqual([0, []]);
    const verdicts = readFileSync(out, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line).verdict);
    expect(verdicts).toEqual(['incorrect', 'correct', 'incorrect', 'incorrect']);
  });

  it('names file, line and field of a bad row, after the rows before it', () => {
    const bad = reckonGrade(`${lines(ROWS.slice(0, 1))}\n{"prediction": 1}`, '-');
    expect(bad.status).toBe(2);
    expect(bad.rows.length).toBe(1);
    expect(bad.stderr).toMatch(
      /^error: -:2: expected a text, a number or a list of them in one of reference, solution, ground_truth_text, ground_truth, answer, ground_truth_num, found the columns prediction; fix the row/,
    );
    expect(reckonGrade('not json', '-').stderr).toMatch(/^error: -:1: expected a JSON object on every line/);
  });

  it.each([
    ['0', /must be a whole number, 1 or more/],
    ['3000000000', /must be at most 2147483647/],
  ])('refuses a deadline of %s ms, which would make every row unverifiable', (deadline, message) => {
    const { status, stderr } = reckonGrade(lines(ROWS), '-', '--deadline', deadline);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });

  it('ends without a word when its reader goes away', async () => {
    const input = join(folder, 'many.jsonl');
    const rows = Array.from({ length: 20_000 }, (_, i) => ({ prediction: `${i}`, reference: i }));
    writeFileSync(input, lines(rows));
    const child = spawn(process.execPath, [join(ROOT, 'dist/cli/main.js'), 'grade', input], { cwd: ROOT });
    let stderr = '';
    child.stderr.on('data', (text) => {
      stderr += text;
    });
    await once(child.stdout, 'data');
    child.stdout.destroy();
    const [code] = await once(child, 'close');
    expect([code, stderr]).toEqual([0, '']);
  });

  it('says in a sentence that a file or profile is not there', () => {
    expect(reckonGrade('', join(folder, 'none.jsonl')).stderr).toMatch(/^error: .*none\.jsonl/);
    expect(reckonGrade('', '-', '--profile', 'best').stderr).toMatch(
      /^error: .*Allowed choices are default, r1-zero/,
    );
  });
});
