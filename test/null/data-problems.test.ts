/** Owns the tests of problems from data sets: solutions, columns, named sets, generated ones, filters and mixtures. */

import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arithmeticProblems } from '../../src/data/arithmetic.ts';
import { lastBoxed } from '../../src/data/boxed.ts';
import { contaminationOf, normalisedQuestion } from '../../src/data/contamination.ts';
import { countdownProblems } from '../../src/data/countdown.ts';
import { countdownOf } from '../../src/data/countdown-rows.ts';
import { mix } from '../../src/data/mixture.ts';
import { easiestFirst, filterByPassRate, readPassRates } from '../../src/data/pass-rates.ts';
import type { Problem } from '../../src/data/problem.ts';
import { loadFileSet, loadProblemSet } from '../../src/data/problem-sets.ts';
import { BadRows, describeBadRow } from '../../src/data/rows.ts';
import {
  answerInSolution,
  boxedSolution,
  reasoningOf,
  thinkAnswer,
  workedSolution,
} from '../../src/data/solutions.ts';
import { judgeCountdown } from '../../src/rewards/tasks/countdown-task.ts';

const folder = mkdtempSync(join(tmpdir(), 'reckon-problems-'));
const samples = fileURLToPath(new URL('samples/data', import.meta.url));

function write(name: string, lines: readonly unknown[]): string {
  const path = join(folder, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return path;
}

const problem = (id: string, question = id): Problem => ({ id, question, reference: '1', meta: {} });

describe('solutions', () => {
  it.each([
    ['\\boxed{5}', '5'],
    ['first \\boxed{1}, then $\\boxed{\\frac{1}{2}}$.', '\\frac{1}{2}'],
    ['\\boxed{\\text{a \\} b}}', '\\text{a \\} b}'],
    ['\\boxed{\\boxed{7}}', '7'],
    ['so $\\boxed 3$ it is', '3'],
    ['\\fbox{ 12 }', '12'],
    ['\\boxed{4} and \\boxed{', '4'],
    ['\\boxed{4} and \\boxed{}', '4'],
    ['\\boxed', null],
    ['no box', null],
  ])('the last box of %j holds %j', (text, expected) => {
    expect(lastBoxed(text)).toBe(expected);
  });

  it('finds what was boxed among other text, braces and all', () => {
    const inner = fc.string({ unit: fc.constantFrom('a', '{b}', '\\{', '\\frac{1}{2}', ' ', '$') });
    const around = fc.string({ unit: fc.constantFrom('a', '{', '}', '\\', ' \\boxed{x} ', '\n') });
    fc.assert(
      fc.property(inner, around, (content, before) => {
        const found = lastBoxed(`${before} \\boxed{${content}x} end`);
        expect(found).toBe(`${content}x`.trim());
      }),
    );
  });

  it("turns GSM8K's solutions into reasoning and an answer, in both forms", () => {
    const solution = 'He has 3*4=<<3*4=12>>12 eggs.\nAt $100 each he gets $<<12*100=1200>>1,200.\n#### 1,200';
    expect(answerInSolution(solution)).toBe('1200');
    expect(reasoningOf(solution)).toBe('He has 3*4=12 eggs.\nAt $100 each he gets $1,200.');
    expect(reasoningOf(solution, true)).toContain('<<3*4=12>>');
    const worked = workedSolution({ ...problem('x'), reference: '1200', meta: { solution } });
    expect(thinkAnswer(worked)).toBe(
      ' He has 3*4=12 eggs.\nAt $100 each he gets $1,200. </think> <answer> 1200 </answer>',
    );
    expect(boxedSolution(worked)).toMatch(/1,200\.\nThe answer is \\boxed\{1200\}\.$/);
    expect(boxedSolution({ reasoning: 'So $\\boxed{2}$.', answer: '2' })).toBe('So $\\boxed{2}$.');
    expect(thinkAnswer({ reasoning: '', answer: '5' })).toBe(' </think> <answer> 5 </answer>');
  });

  it.each([
    ['a #### 1\nb #### -5', '-5'],
    ['#### 1,23', '1,23'],
    ['#### 12,345.5', '12345.5'],
    ['#### ', null],
    ['neither', null],
  ])('the answer of %j is %j', (solution, expected) => {
    expect(answerInSolution(solution)).toBe(expected);
  });
});

describe('data sets', () => {
  const gsm8k = (split: string, count: number): void => {
    const rows = Array.from({ length: count }, (_, i) => ({
      question: `What is ${split === 'train' ? i : 10_000 + i} plus 1?`,
      answer: `It is <<1+1=2>>${i + 1}.\n#### ${i + 1}`,
    }));
    write(`gsm8k/${split}.jsonl`, rows);
    write(`gsm8k/${split}_socratic.jsonl`, rows);
  };
  gsm8k('train', 1500);
  gsm8k('test', 300);
  const path = join(folder, 'gsm8k');

  it('gsm8k official: the test part as it is, 1,000 for validation from train, nothing in two parts', async () => {
    const { splits, contamination, notes, skipped } = await loadProblemSet('gsm8k', { path, splitSeed: 1 });
    expect([splits.train.length, splits.validation.length, splits.test.length]).toEqual([500, 1000, 300]);
    expect(splits.test[4]).toMatchObject({ id: 'gsm8k/test/4', reference: '5', meta: { split: 'test' } });
    expect([contamination.exact, contamination.normalised, notes, skipped]).toEqual([0, 0, [], []]);
  });

  it('gsm8k seed2: one shuffle of all rows, and it says that official test rows are trained on', async () => {
    const set = await loadProblemSet('gsm8k', { path, splitSeed: 1, split: 'seed2' });
    const { train, validation, test } = set.splits;
    expect([train.length, validation.length, test.length]).toEqual([900, 450, 450]);
    expect(new Set([...train, ...validation, ...test].map(({ id }) => id)).size).toBe(1800);
    const official = train.filter(({ meta }) => meta['split'] === 'test').length;
    expect(official).toBeGreaterThan(100);
    expect(set.contamination).toMatchObject({ tested: 300, exact: official, normalised: 0 });
    expect(set.notes[0]).toContain(`${official} of 300 questions of the official test part are trained on`);
  });

  it('math and numina: the answer is the last box, other columns can be filtered by', async () => {
    mkdirSync(join(folder, 'math/train/algebra'), { recursive: true });
    for (let i = 0; i < 30; i++) {
      const row = {
        problem: `Solve ${i}.`,
        level: `Level ${(i % 2) + 1}`,
        type: 'Algebra',
        solution: `\\boxed{${i}}`,
      };
      writeFileSync(join(folder, `math/train/algebra/${i}.json`), JSON.stringify(row, null, 2));
    }
    write('math/test/500.jsonl', [
      { problem: 'Halve 7.', solution: 'no box', answer: '\\frac72', unique_id: 'u' },
    ]);
    const set = await loadProblemSet('math', {
      path: join(folder, 'math'),
      splitSeed: 1,
      splits: { validation: 5 },
      where: undefined,
    });
    expect([set.splits.train.length, set.splits.validation.length]).toEqual([25, 5]);
    expect(set.splits.test).toMatchObject([{ question: 'Halve 7.', reference: '\\frac72' }]);
    const hard = await loadProblemSet('math', {
      path: join(folder, 'math'),
      splitSeed: 1,
      splits: { validation: 2, test: 2 },
      where: { level: ['Level 2'] },
    });
    expect(hard.splits.train).toHaveLength(11);
    expect(new Set(hard.splits.train.map(({ meta }) => meta['level']))).toEqual(new Set(['Level 2']));

    const numina = await loadProblemSet('numina', {
      path: join(samples, 'numina-zstd.parquet'),
      splitSeed: 1,
      splits: { train: 'train[:2]', test: 'train[2:]', validation: 0 },
    });
    expect(numina.splits.train.map(({ reference }) => reference)).toEqual(['2', '\\frac{7}{2}']);
    expect(numina.splits.test[0]!.question).toBe('Qué es 3²?');
  });

  it('any file by its columns, inside objects too; malformed rows are named or left out with a count', async () => {
    const file = write('any/all.jsonl', [
      { q: ' One? ', meta: { a: 1 }, key: 'k1' },
      { q: 'Two?', meta: {}, key: 'k2' },
      { q: ['?'], meta: { a: 3 }, key: 'k3' },
      { q: 'Four?', meta: { a: '4' }, key: 'k1' },
      { q: 'Five?', meta: { a: 'so #### 5' }, key: 'k5' },
    ]);
    const options = { path: file, columns: { question: 'q', answer: 'meta.a', id: 'key' }, splitSeed: 1 };
    await expect(loadFileSet(options)).rejects.toThrow(
      `${file}:2, column "meta.a": expected text, found no such column; the row has q, meta, key; correct it, or leave`,
    );
    const set = await loadFileSet({ ...options, skipBad: true });
    expect(set.splits.train).toMatchObject([
      { id: 'k1', question: 'One?', reference: '1' },
      { id: 'k5', question: 'Five?', reference: '5' },
    ]);
    expect(set.skipped.map(({ line, column }) => [line, column])).toEqual([
      [2, 'meta.a'],
      [3, 'q'],
      [4, 'key'],
    ]);
    expect(set.notes).toContain('3 malformed rows were left out.');
  });

  it('what cannot be had says what to fetch', async () => {
    const before = process.env['HF_HUB_OFFLINE'];
    const cache = process.env['HF_HUB_CACHE'];
    Object.assign(process.env, { HF_HUB_OFFLINE: '1', HF_HUB_CACHE: join(folder, 'no-cache') });
    try {
      await expect(loadProblemSet('gsm8k', { splitSeed: 1 })).rejects.toThrow(
        /openai\/gsm8k is not in the cache .* set task\.path .* to a folder with train\.jsonl and test\.jsonl/,
      );
    } finally {
      for (const [name, value] of [
        ['HF_HUB_OFFLINE', before],
        ['HF_HUB_CACHE', cache],
      ] as const) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    }
  });
});

describe('the contamination check', () => {
  it('tells exact from normalised, and names each tested problem once', () => {
    const train = [
      problem('a', 'How many?'),
      problem('b', 'How  MANY?'),
      problem('c', 'What is $1{,}000 \\, + 1$'),
    ];
    const test = [problem('t1', 'How many?'), problem('t2', 'how many'), problem('t3', 'Who?')];
    expect(contaminationOf(train, test)).toEqual({
      tested: 3,
      exact: 1,
      normalised: 1,
      pairs: [
        { train: 'a', test: 't1', how: 'exact' },
        { train: 'a', test: 't2', how: 'normalised' },
      ],
    });
  });

  it('keeps apart what differs in meaning', () => {
    for (const [a, b] of [
      ['1+1', '1-1'],
      ['1.5', '15'],
      ['x < 1', 'x > 1'],
    ]) {
      expect(normalisedQuestion(a!)).not.toBe(normalisedQuestion(b!));
    }
    expect(normalisedQuestion('“Is 1,000 it?”')).toBe(normalisedQuestion('is 1000 IT'));
  });
});

describe('generated problems', () => {
  it('countdown: different, within their ranges, and solved by their own reference', () => {
    const puzzles = countdownProblems({
      count: 300,
      numbers: [3, 5],
      values: [1, 50],
      target: [10, 60],
      seed: 9,
    });
    expect(new Set(puzzles.map(({ id }) => id)).size).toBe(300);
    for (const puzzle of puzzles) {
      expect(judgeCountdown(`<answer>${puzzle.reference}</answer>`, puzzle)).toMatchObject({
        verdict: 'correct',
      });
      const { numbers, target } = puzzle.meta as { numbers: number[]; target: number };
      expect(numbers.length).toBeGreaterThanOrEqual(3);
      expect(numbers.length).toBeLessThanOrEqual(5);
      expect(numbers.every((number) => number >= 1 && number <= 50)).toBe(true);
      expect(target >= 10 && target <= 60).toBe(true);
    }
    expect(judgeCountdown('<answer>1 + 1</answer>', puzzles[0]!).verdict).toBe('incorrect');
    expect(countdownProblems({ count: 3, seed: 9 })).toEqual(
      countdownProblems({ count: 5, seed: 9 }).slice(0, 3),
    );
    expect(() =>
      countdownProblems({ count: 9, numbers: [2, 2], values: [1, 1], target: [2, 2], seed: 1 }),
    ).toThrow('Expected 9 different puzzles in these ranges, found 1');
  });

  it('countdown: puzzles of files, by the columns of the known sets', () => {
    const row = (values: Record<string, unknown>, line: number) => ({ values, file: 'x.jsonl', line });
    const bad = new BadRows(true);
    const found = countdownOf(
      new Map([
        [
          'train',
          [
            row({ metadata: { numbers: [7, 74], target: 67, expression: '74 - 7' } }, 1),
            row({ nums: [1, 2, 3], target: 6 }, 2),
            row({ numbers: '[4, 5]', target: '20' }, 3),
            row({ numbers: '5 4', target: 20 }, 4),
            row({ numbers: '5 x', target: 20 }, 5),
            row({ numbers: [5, 4], target: 'y' }, 6),
            row({ question: '?' }, 7),
          ],
        ],
      ]),
      bad,
    );
    expect(found.repeated).toBe(1);
    expect(found.splits.get('train')!.map(({ id, reference }) => [id, reference])).toEqual([
      ['countdown/7-74=67', '74 - 7'],
      ['countdown/1-2-3=6', ''],
      ['countdown/4-5=20', ''],
    ]);
    expect(bad.found.map(describeBadRow)).toEqual([
      'x.jsonl:5, column "numbers": expected two or more whole numbers, found "5 x"',
      'x.jsonl:6, column "target": expected a whole number, found "y"',
      'x.jsonl:7: expected the numbers in metadata.numbers, nums or numbers, found none of these columns',
    ]);
  });

  it('arithmetic: every worked line is a chain of equal values that ends in the reference', () => {
    const exercises = arithmeticProblems({
      count: 400,
      digits: 3,
      terms: [2, 5],
      operators: ['+', '-', '*'],
      seed: 4,
    });
    expect(new Set(exercises.map(({ id }) => id)).size).toBe(400);
    for (const { question, reference, meta } of exercises) {
      const parts = String(meta['solution']).split('=');
      expect(`${parts[0]}=`).toBe(question);
      expect(parts.at(-1)).toBe(reference);
      for (const part of parts) expect(chainValue(part)).toBe(BigInt(reference));
    }
    expect(() => arithmeticProblems({ count: 300, digits: 1, seed: 1 })).toThrow('found 200');
  });
});

describe('filters and mixtures', () => {
  const problems = ['a', 'b', 'c', 'd'].map((id) => problem(id));

  it('pass rates come from rates, counts or an evaluation; what has none is left out and counted', () => {
    const rates = readPassRates(
      write('rates.jsonl', [
        { id: 'a', rate: 0 },
        { id: 'b', correct: 1, samples: 4 },
        { id: 'c', rate: 1 },
      ]),
    );
    expect(filterByPassRate(problems, rates, { min: 0.1, max: 0.9 })).toEqual({
      kept: [problems[1]],
      below: 1,
      above: 1,
      unknown: 1,
    });
    expect(easiestFirst(problems, rates).map(({ id }) => id)).toEqual(['c', 'b', 'a', 'd']);
    const sample = fileURLToPath(new URL('samples/evaluation-v1.json', import.meta.url));
    expect(readPassRates(sample).size).toBeGreaterThan(0);
    expect(() => readPassRates(write('bad.jsonl', [{ id: 'a', rate: 2 }]))).toThrow('bad.jsonl:1');
    expect(() => readPassRates(join(folder, 'none.json'))).toThrow('it cannot be read');
  });

  const items = (count: number, name: string): string[] =>
    Array.from({ length: count }, (_, i) => `${name}${i}`);
  const sharesOf = (mixed: readonly string[]): number[] =>
    ['x', 'y', 'z'].map((name) => mixed.filter((item) => item.startsWith(name)).length);

  it('a mixture by counts, and by weights as large as its sources allow', () => {
    const x = { name: 'x', items: items(100, 'x') };
    const y = { name: 'y', items: items(30, 'y') };
    expect(
      sharesOf(
        mix(
          [
            { ...x, count: 5 },
            { ...y, count: 7 },
          ],
          1,
        ),
      ),
    ).toEqual([5, 7, 0]);
    expect(
      sharesOf(
        mix(
          [
            { ...x, weight: 3 },
            { ...y, weight: 1 },
          ],
          1,
        ),
      ),
    ).toEqual([90, 30, 0]);
    expect(
      sharesOf(
        mix(
          [
            { ...x, weight: 2 },
            { ...y, weight: 1 },
          ],
          1,
          10,
        ),
      ),
    ).toEqual([7, 3, 0]);
    expect(() => mix([{ ...y, count: 31 }], 1)).toThrow('31 of y are wanted and it has 30');
    expect(() => mix([{ ...x, weight: 1 }, y], 1)).toThrow('every source a weight');
  });

  it('a mixture never takes an item twice and keeps its shares, whatever the weights', () => {
    const source = fc.record({
      size: fc.integer({ min: 1, max: 60 }),
      weight: fc.integer({ min: 1, max: 9 }),
    });
    fc.assert(
      fc.property(fc.tuple(source, source, source), fc.nat(), (sources, seed) => {
        const named = sources.map(({ size, weight }, i) => ({
          name: 'xyz'[i]!,
          items: items(size, 'xyz'[i]!),
          weight,
        }));
        const mixed = mix(named, seed);
        expect(new Set(mixed).size).toBe(mixed.length);
        const sum = sources.reduce((total, { weight }) => total + weight, 0);
        sharesOf(mixed).forEach((taken, i) => {
          expect(Math.abs(taken - (mixed.length * sources[i]!.weight) / sum)).toBeLessThan(1);
          expect(taken).toBeLessThanOrEqual(sources[i]!.size);
        });
      }),
    );
  });
});

/** A chain of + - * by hand: products first, then from the left. */
function chainValue(text: string): bigint {
  const terms = text.replace(/^-/, '0-').split(/(?=[+-])/);
  return terms.reduce((sum, term) => {
    const product = term
      .replace(/^[+-]/, '')
      .split('*')
      .reduce((one, factor) => one * BigInt(factor), 1n);
    return term.startsWith('-') ? sum - product : sum + product;
  }, 0n);
}
