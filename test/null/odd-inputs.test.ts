/** Owns the tests of inputs that are very long, oddly encoded or oddly named: each was once a hang, a crash or a wrong answer. */

import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { arithmeticProblems } from '../../src/data/arithmetic.ts';
import { lastBoxed } from '../../src/data/boxed.ts';
import { dataFiles } from '../../src/data/data-files.ts';
import { parseJson } from '../../src/data/json-rows.ts';
import { BadRows, describeBadRow } from '../../src/data/rows.ts';
import { readExamples } from '../../src/data/training-rows.ts';
import { readAnswers } from '../../src/evaluate/answer-set.ts';
import { detailsOf } from '../../src/evaluate/details.ts';
import type { EvaluationRow } from '../../src/evaluate/rows.ts';
import { smoothed } from '../../src/report/chart-math.ts';
import { extremeRollouts } from '../../src/report/last-rollouts.ts';
import { makeBuiltIn } from '../../src/rewards/built-in.ts';
import { extractAnswer } from '../../src/rewards/grade/extract.ts';
import { gradeInline } from '../../src/rewards/grade/inline.ts';
import { judge } from '../../src/rewards/grade/judge.ts';
import { equalGsm8k, extractUnified } from '../../src/rewards/grade/profiles/simple.ts';
import type { Sample } from '../../src/rewards/reward.ts';
import { writeFileAtomic } from '../../src/util/files.ts';
import { appendJsonl, readJsonl, truncateJsonl } from '../../src/util/jsonl.ts';
import { Rng } from '../../src/util/rng.ts';
import { processorMs } from './timing.ts';

const folder = mkdtempSync(join(tmpdir(), 'reckon-odd-'));
const place = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const LONG = 50_000;

describe('long completions are read in linear time', () => {
  it.each<[string, () => unknown]>([
    ['an announced answer and spaces', () => extractAnswer(`**answer${' '.repeat(LONG)}5`, () => false)],
    ['zeros behind a point', () => equalGsm8k(`.${'0'.repeat(LONG)}1x`, '1')],
    ['zeros before two points', () => equalGsm8k(`${'0'.repeat(LONG)}..`, '1')],
    ['digits in a box that never closes', () => extractUnified(`\\boxed{${'7'.repeat(LONG)}`)],
    ['boxes that never close', () => lastBoxed('\\boxed{'.repeat(LONG / 5))],
    ['empty boxes', () => lastBoxed('\\boxed{}'.repeat(LONG / 5))],
  ])('%s', async (_what, work) => {
    expect(await processorMs(work)).toBeLessThan(200);
  });
});

describe('numbers with one comma', () => {
  const options = { extract: 'none' } as const;
  it.each([
    ['1,000', '1.000', 'incorrect'],
    ['1,234', '1.234', 'incorrect'],
    ['1000,99', '1000.99', 'correct'],
    ['0,125', '0.125', 'correct'],
    ['0,125', '125', 'incorrect'],
    ['12,5', '12.5', 'correct'],
  ])('%s for %s is %s, inline or not', (prediction, reference, verdict) => {
    const row = { prediction, references: [reference], options };
    expect(judge(row).verdict).toBe(verdict);
    expect([verdict, undefined]).toContain(gradeInline(row)?.verdict);
  });
});

it('a space may stand before the brace of a box', () => {
  expect(lastBoxed('so it is \\boxed {5}.')).toBe('5');
  expect(lastBoxed('so it is $\\boxed 3$.')).toBe('3');
});

describe('random whole numbers', () => {
  it('beyond 32 bits are drawn, in all of their range', () => {
    const rng = new Rng({ seed: 1, purpose: 'test' });
    const drawn = Array.from({ length: 2000 }, () => rng.integer(10 ** 12) / 10 ** 12);
    expect(drawn.reduce((sum, x) => sum + x, 0) / drawn.length).toBeCloseTo(0.5, 1);
    expect(Math.max(...drawn)).toBeGreaterThan(0.99);
    const exercises = arithmeticProblems({ count: 50, digits: 15, seed: 0 });
    expect(exercises.some(({ question }) => /\d{13}/.test(question))).toBe(true);
  });

  it('of no range at all are an error, not a loop without end', () => {
    for (const n of [0, -1, 1.5, Number.NaN, 2 ** 60])
      expect(() => new Rng({ seed: 1, purpose: 'test' }).integer(n)).toThrow('1 or more');
  });
});

describe('data files', () => {
  it('a name that every object has is no split', () => {
    writeFileSync(place('constructor.jsonl'), '{}\n');
    expect(dataFiles(place('constructor.jsonl'))[0]!.split).toBe('train');
  });

  it('damage between items is told of every file, at its own place', () => {
    const bad = new BadRows(true);
    bad.add({ file: 'first.json', line: 1, column: 1, message: 'expected an object' });
    parseJson('[\n{"a":1},\n,\n{"a":2}\n]', 'second.json', bad);
    expect(bad.found.map(describeBadRow).slice(1)).toEqual([
      'second.json:3:1: expected valid JSON, found ","',
    ]);
  });

  it('a byte-order mark and line ends of Windows belong to no row', () => {
    writeFileSync(place('bom.jsonl'), '\ufeff{"text":"one"}\r\n{"text":"two"}\r\n');
    expect(readExamples(place('bom.jsonl'))).toEqual([{ text: 'one' }, { text: 'two' }]);
  });
});

describe('JSON lines', () => {
  /** Lines around the number of bytes that are read at once, with letters of several bytes. */
  const values = [1, 65_534, 65_535, 65_536, 200_000].map((length, step) => ({
    step,
    text: 'ä'.repeat(length / 2),
  }));

  it('are read whole wherever they end, and cut back', () => {
    const path = place('long.jsonl');
    appendJsonl(path, values);
    expect(readJsonl(path, (value) => value)).toEqual(values);
    const whole = readFileSync(path);
    appendFileSync(path, `{"step":9,"text":"${'x'.repeat(150_000)}`);
    expect(readJsonl(path, (value) => value)).toEqual(values);
    appendJsonl(path, [{ step: 9 }]);
    expect(truncateJsonl(path, 4)).toBe(1);
    expect(readFileSync(path).equals(whole)).toBe(true);
    expect(truncateJsonl(path, 2)).toBe(2);
    expect(readJsonl(path, (value) => value)).toEqual(values.slice(0, 3));
    expect(truncateJsonl(path, -1)).toBe(3);
    expect(readFileSync(path, 'utf8')).toBe('');
  });

  it('of answers are named by their place in the file', () => {
    writeFileAtomic(place('answers.jsonl'), '{"completion":"a","correct":true}\n\n\n{"completion":"b"}\n');
    expect(() => readAnswers(place('answers.jsonl'), 'x')).toThrow('answers.jsonl:4: expected an answer');
  });
});

it('the details of more samples than a call may have arguments', () => {
  const row = {
    completion: '',
    solution: '5',
    answer: null,
    parts: {},
    verdict: 'incorrect',
    formatOk: false,
  } as unknown as EvaluationRow;
  const rows = Array.from({ length: 150_000 }, (_, i) => ({ ...row, problemId: `${i}`, tokens: i % 777 }));
  expect(detailsOf(rows).lengths.longest).toBe(776);
});

it('a curve of 100,000 steps is smoothed in a moment', async () => {
  const points = Array.from({ length: 100_000 }, (_, x) => ({ x, y: 3 + (x % 2) }));
  let smooth: ReturnType<typeof smoothed> = [];
  expect(await processorMs(() => (smooth = smoothed(points)))).toBeLessThan(2000);
  expect(smooth.length).toBeLessThan(1300);
  expect([smooth[0]!.x, smooth.at(-1)!.x]).toEqual([0, 99_999]);
  for (const { y } of smooth) expect(y).toBeCloseTo(3.5, 2);
});

it('the best rollout of the last step is found where the step is longer than what is read first', () => {
  const rollout = (step: number, sampleIndex: number, reward: number) => ({
    step,
    problemId: 'p',
    sampleIndex,
    completion: 'x'.repeat(500_000),
    stopReason: 'eos',
    reward,
    parts: {},
    verdict: 'correct',
    reason: 'correct',
  });
  const lines = [rollout(1, 0, 9), ...Array.from({ length: 20 }, (_, i) => rollout(2, i, i === 0 ? 1 : 0))];
  writeFileAtomic(
    join(folder, '02-grpo', 'rollouts', 'train.jsonl'),
    lines.map((line) => `${JSON.stringify(line)}\n`).join(''),
  );
  const found = extremeRollouts(folder, '02-grpo', 1)!;
  expect([found.step, found.best[0]!.sampleIndex, found.best[0]!.reward]).toEqual([2, 0, 1]);
});

it('repetition can be counted in lines, as lengths can', () => {
  const { score } = makeBuiltIn(
    'repetition',
    { unit: 'lines', ngram: 1 },
    { correct: () => 1, maxCompletionTokens: 9 },
  );
  const said = { rollout: { text: 'a\nb\na\nb', completionIds: [1, 2, 3, 4, 5, 6, 7] } };
  expect(score(said as unknown as Sample)).toBeCloseTo(-0.5, 12);
});
