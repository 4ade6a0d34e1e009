/** Owns the tests of comparison and analysis: equations, classes of errors, answer sets, pairs. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { analyze } from '../../src/evaluate/analysis.ts';
import { type AnswerSet, answersOfEvaluation, readAnswers } from '../../src/evaluate/answer-set.ts';
import { equationsIn } from '../../src/evaluate/arithmetic.ts';
import { compareSets, holm } from '../../src/evaluate/compare.ts';
import { errorClass, repeats } from '../../src/evaluate/error-class.ts';
import type { EvaluationRow } from '../../src/evaluate/rows.ts';
import { comparisonText } from '../../src/report/index.ts';
import { processorMs } from './timing.ts';

describe('equations in a text', () => {
  test.each([
    ['3 + 4 = 7', [true]],
    ['3 + 4 = 8', [false]],
    ['So 3 × 4 = 12 and 12 ÷ 5 = 2.4', [true, true]],
    ['<<48/2=24>>24 clips', [true]],
    ['2 * (3 + 4) = 14, then 14 - 20 = -6', [true, true]],
    ['1,200 + 34 = 1,234', [true]],
    ['10 / 3 = 3.33 and 10 / 3 = 3.4', [true, false]],
    ['$5 x 3 = $15', [true]],
    ['12/2=6 8 12', [true]],
    ['8:3*3=8 3', [true]],
    ['8/3=8:3 3', [true]],
    ['Step 2: 5 - 3 = 1', [false]],
    ['x = 5', []],
    ['the answer = 12', []],
    ['3 / 0 = 5', []],
    ['a = b + 3 = 4', []],
    ['((((', []],
    ['-3 + 5 = 2', [true]],
    ['2 + 2 = 2 + 2', [true]],
    ['2 + 2 = 2 + 3', [false]],
    ['1/2 + 1/2 = 2/2 = 1', [true, true]],
    ['3 + 4 = 7 - 2 = 5', [true, true]],
    ['20% * 50 = 10 and 100 x 5% = 5', [true, true]],
    ['3/4 = 75% and 3/4 * 100 = 75%, 50% + 25% = 75%', [true, true, true]],
    ['20% * 50 = 12', [false]],
    ['3 \\times 2 = 6, 3 \\cdot 5 = 16, 9 \\div 3 = 3', [true, false, true]],
    ['\\frac{1}{2} \\times 8 = 4 and \\$5 \\times 3 = \\$15', [true, true]],
  ])('%s', (text, holds) => {
    const found = equationsIn(text).map((equation) => equation.holds);
    expect(found).toEqual(holds);
  });

  test('are found in time linear in the text', async () => {
    for (const piece of ['(', '1+', '=', '1=', '((1', '-', '1 ', 'x = 1 + ', '1:'])
      expect(await processorMs(() => equationsIn(piece.repeat(20_000)))).toBeLessThan(5000);
  });
});

describe('classes of errors', () => {
  const row = (completion: string, changes: Partial<EvaluationRow> = {}): EvaluationRow => ({
    problemId: 'p',
    sampleIndex: 0,
    question: 'q',
    prompt: 'q',
    completion,
    solution: '5',
    answer: '4',
    reward: 0,
    parts: {},
    verdict: 'incorrect',
    reason: 'wrong',
    formatOk: true,
    stopReason: 'eos',
    tokens: 3,
    ...changes,
  });

  test('one of each', () => {
    expect(errorClass(row('2 + 3 = 5', { verdict: 'correct' }))).toBeNull();
    expect(errorClass(row('', { verdict: 'unverifiable' }))).toBe('unverifiable');
    expect(errorClass(row('2 + 2 = 4, so 4'))).toBe('wrong plan');
    expect(errorClass(row('2 + 3 = 4, so 4'))).toBe('arithmetic slip');
    expect(errorClass(row('who knows', { answer: null }))).toBe('extraction failure');
    expect(errorClass(row('2 + 3 is', { stopReason: 'length', answer: null }))).toBe('unfinished');
    const circles = 'so we add 1 and then '.repeat(30);
    expect(errorClass(row(circles, { stopReason: 'length', answer: null }))).toBe('repetition');
  });

  test('repetition is four lines or periods in a row, and nothing less', () => {
    expect(repeats('x\nx\nx\nx\n')).toBe(true);
    expect(repeats('x\nx\ny\nx\nx')).toBe(false);
    expect(repeats(`start ${'abc'.repeat(20)}`)).toBe(true);
    expect(repeats('ab'.repeat(10))).toBe(false);
    expect(repeats('1 + 1 = 2\n2 + 2 = 4\n3 + 3 = 6\n4 + 4 = 8\n')).toBe(false);
    expect(repeats(`${'0123456789'.repeat(4)}`)).toBe(true);
    expect(repeats(`${'0123456789'.repeat(3)}01234567x9`)).toBe(false);
  });

  test('cells, classes and reasons are counted, examples spread', () => {
    const rows = [
      ...Array.from({ length: 6 }, (_, i) => row(`2 + 3 = ${i + 10}`, { problemId: `p${i}` })),
      row('right', { verdict: 'correct', reason: 'correct' }),
      row('right', { verdict: 'correct', reason: 'correct', formatOk: false }),
      row('nothing', { answer: null, formatOk: false, reason: 'no-answer' }),
    ];
    const analysis = analyze(rows, 2);
    expect(analysis.cells).toEqual({ both: 1, formatOnly: 6, answerOnly: 1, neither: 1 });
    expect(analysis.errors.map(({ errorClass: name, count }) => [name, count])).toEqual([
      ['arithmetic slip', 6],
      ['extraction failure', 1],
    ]);
    expect(analysis.errors[0]!.examples.map(({ problemId }) => problemId)).toEqual(['p1', 'p4']);
    expect(analysis.reasons[0]).toEqual(['wrong', 6]);
  });
});

describe('answer sets', () => {
  let folder: string;
  const file = (name: string, lines: readonly object[]): string => {
    const path = join(folder, name);
    writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    return path;
  };
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'reckon-answers-'));
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  test("exports of other projects' scripts are read", () => {
    const seed0 = file('seed0.jsonl', [
      { index: 0, question: 'q0', response: 'r', ground_truth_num: 5, answer_num: 5.0000001 },
      { index: 1, question: 'q1', response: 'r', ground_truth_num: 5, answer_num: 6 },
      {
        index: 2,
        question: 'q2',
        response: 'r',
        ground_truth_num: 'N/A',
        answer_num: 'N/A',
        answer_text: 'A ',
        ground_truth_text: 'a',
      },
    ]);
    const own = readAnswers(seed0, 's');
    expect(own.problems.map(({ id, correct }) => [id, correct])).toEqual([
      ['0', 1],
      ['1', 0],
      ['2', 1],
    ]);
    const seed4 = file('seed4.jsonl', [
      { prompt: 'p0', completion: 'c', solution: '5', reward: 1 },
      { prompt: 'p0', completion: 'd', solution: '5', reward: 0.5 },
    ]);
    expect(readAnswers(seed4, 's').problems).toMatchObject([
      { id: 'p0', samples: 2, correct: 1, solution: '5' },
    ]);
    expect(() => readAnswers(file('bad.jsonl', [{ completion: 'c' }]), 'x')).toThrow(
      expect.objectContaining({ code: 'not-an-answer' }),
    );
    expect(() => readAnswers(file('empty.jsonl', []), 'x')).toThrow(
      expect.objectContaining({ code: 'no-answers' }),
    );
  });

  test('an evaluation without rows gives counts and first samples', () => {
    const path = new URL('./samples/evaluation-v1.json', import.meta.url).pathname;
    const { problems } = answersOfEvaluation(path, 'sft');
    expect(problems.map(({ samples, correct }) => [samples, correct])).toEqual([
      [8, 2],
      [8, 8],
      [8, 0],
    ]);
    expect(problems[0]!.answers).toHaveLength(1);
  });
});

describe('comparison', () => {
  const set = (name: string, right: string, text = 'Step 1: 2 + 3 = 5'): AnswerSet => ({
    name,
    problems: [...right].map((digit, i) => ({
      id: `p${i}`,
      question: `q${i}`,
      solution: '5',
      samples: 1,
      correct: Number(digit),
      formatOk: 1,
      meanTokens: 10,
      answers: [{ completion: text, correct: digit === '1', reason: '' }],
    })),
  });

  test('of pairs: difference, exact test, problems won and lost, steps covered', () => {
    const a = set('sft', '1111100000');
    const b = set('grpo', '1111011110', '2 + 3 = 5 and 5 * 2 = 10');
    const { shared, sets, pairs } = compareSets([a, b]);
    expect(shared).toBe(10);
    expect(sets.map(({ passAt1 }) => passAt1.mean)).toEqual([0.5, 0.8]);
    const [pair] = pairs;
    expect(pair!.difference.difference).toBeCloseTo(0.3, 12);
    expect(pair!.difference.low).toBeLessThan(0.3);
    expect(pair!.mcnemar).toMatchObject({ onlyA: 1, onlyB: 4, pValue: expect.closeTo(0.375, 10) });
    expect(pair!.won.map(({ b: { id } }) => id)).toEqual(['p5', 'p6', 'p7', 'p8']);
    expect(pair!.lost.map(({ b: { id } }) => id)).toEqual(['p4']);
    expect(pair!.stepCoverage).toBe(1);
    const asked = {
      ...b,
      problems: b.problems.map((one, i) => (i < 3 ? { ...one, question: 'other' } : one)),
    };
    expect(comparisonText(compareSets([a, b]), 0)).not.toContain('other questions');
    expect(comparisonText(compareSets([a, asked]), 0)).toContain('3 of them have other questions');
    // Steps without an expression are not there to be covered.
    const [same] = compareSets([set('a', '1', 'So, it is four.'), set('b', '1', 'So, it is four.')]).pairs;
    expect(same!.stepCoverage).toBeNull();
    expect(pair!.adjustedP).toBe(pair!.mcnemar.pValue);
  });

  test('only over shared problems, and corrected for how many pairs there are', () => {
    const sets = [set('a', '1'.repeat(20)), set('b', '0'.repeat(18)), set('c', `${'1'.repeat(17)}0`)];
    const result = compareSets(sets);
    expect(result.shared).toBe(18);
    expect(result.leftOut).toEqual([2, 0, 0]);
    expect(result.pairs.map(({ a, b }) => `${a}-${b}`)).toEqual(['a-b', 'a-c', 'b-c']);
    const raw = result.pairs.map((pair) => pair.mcnemar.pValue);
    expect(result.pairs[0]!.adjustedP).toBeCloseTo(3 * raw[0]!, 12);
    expect(result.pairs[2]!.adjustedP).toBeCloseTo(2 * raw[2]!, 12);
    expect(result.pairs[1]!.adjustedP).toBe(1);
    const strangers = { name: 'd', problems: sets[0]!.problems.map((one) => ({ ...one, id: `x${one.id}` })) };
    expect(() => compareSets([sets[0]!, strangers])).toThrow(
      expect.objectContaining({ code: 'nothing-shared' }),
    );
    expect(() => compareSets([sets[0]!])).toThrow(expect.objectContaining({ code: 'too-few-sets' }));
  });

  test('Holm by hand', () => {
    expect(holm([0.01, 0.04, 0.03])).toEqual([0.03, 0.06, 0.06]);
    expect(holm([])).toEqual([]);
  });
});
