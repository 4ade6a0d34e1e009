import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { apply, type Operator } from '../../src/data/game24-solver.ts';
import {
  ARITHMETIC_PROFILES,
  type ArithmeticProfile,
  asFloat,
  evaluatePython,
  gradeArithmetic,
  judgeExpression,
  searchTraceRewards,
} from '../../src/rewards/index.ts';
import { equal, type Fraction, fraction } from '../../src/util/fraction.ts';
import { agreement, type Case, casesOf } from './rewards-cases.ts';

/** Which of our profiles claims the semantics that a row names. */
const PROFILES: Readonly<Record<string, ArithmeticProfile>> = {
  game24: 'strict',
  'tinyzero:countdown.compute_score (0 / 0.1 / 1)': 'tinyzero',
  'reasoning-gym:countdown': 'reasoning-gym-countdown',
  'reasoning-gym:puzzle24': 'reasoning-gym-puzzle24',
};

function judge(row: Case, profile = PROFILES[row.profile]): unknown {
  if (profile === undefined) return `no profile for ${row.profile}`;
  const puzzle = row.reference as { numbers: number[]; target: number };
  const { verdict, score } = gradeArithmetic(String(row.prediction ?? ''), puzzle, profile);
  return typeof row.expected === 'boolean' ? verdict === 'correct' : score;
}

describe('published cases of arithmetic puzzles', async () => {
  const rows = casesOf('arith');
  const found = await agreement(rows, (row) => judge(row));

  it('are there', () => {
    expect(rows.length).toBeGreaterThan(10);
  });

  it.each([...found])('%s', (profile, { rows: count, agreed, wrong }) => {
    expect(agreed / count, wrong.join('\n')).toBeGreaterThanOrEqual(profile === 'game24' ? 1 : 0.99);
  });

  it("labelled outputs agree with the publisher's own profile too", async () => {
    const labelled = rows.filter((row) => row.profile === 'game24');
    const theirs = await agreement(labelled, (row) => judge(row, 'tree-of-thoughts'));
    for (const { wrong } of theirs.values()) expect(wrong).toEqual([]);
  });
});

describe('the strict profile', () => {
  const strict = (numbers: readonly number[], completion: string, target = 24) =>
    gradeArithmetic(completion, { numbers, target }).reason;

  it.each([
    ['a power', [3, 2, 1], '3**2*1', 9, 'malformed'],
    ['a caret', [3, 2], '3^2', 9, 'malformed'],
    ['whole division', [12, 5, 3], '12//5*3', 6, 'malformed'],
    ['glued digits', [1, 2, 3], '12+3', 15, 'wrong-numbers'],
    ['a factorial', [3, 4], '3!*4', 24, 'malformed'],
    ['a root', [16, 6], 'sqrt(16)*6', 24, 'malformed'],
    ['a decimal point between digits', [1, 5, 2, 3], '1.5*2*3', 9, 'malformed'],
    ['another number', [4, 4, 10, 10], '4*6', 24, 'wrong-numbers'],
    ['a number twice', [4, 6, 1, 1], '4*6*1*1*1', 24, 'wrong-numbers'],
    ['a number left out', [4, 6, 1, 1], '4*6*1', 24, 'wrong-numbers'],
    ['nearly the target', [49, 2, 1, 1], '49/2*1*1', 24, 'wrong-value'],
    ['a float that would round to the target', [3, 1, 3, 7], '7*3*(1/3)+0', 7, 'wrong-numbers'],
    ['a division by zero', [1, 1, 2, 24], '24/(1-1)*2', 24, 'division-by-zero'],
    ['an unclosed parenthesis', [1, 2, 3, 4], '(1*2*3*4', 24, 'malformed'],
    ['two numbers side by side', [2, 12], '2(12)', 24, 'malformed'],
    ['a tower', [9, 9, 9, 9], '9^9^9^9', 24, 'malformed'],
    ['a name', [1, 2, 3, 4], '__import__("os")', 24, 'malformed'],
    ['nothing', [1, 2, 3, 4], '', 24, 'no-answer'],
  ])('refuses %s', (_what, numbers, text, target, reason) => {
    expect(strict(numbers, text, target)).toBe(reason);
  });

  it.each([
    ['the bare expression', '8/(3-8/3)'],
    ['a claim after it', '8/(3-8/3) = 24'],
    ['a last line', 'let me see\n3-8/3 = 1/3\nAnswer: 8 / (3 - 8 / 3) = 24\n'],
    ['tags', '<think>8*3</think>\n<answer>8/(3-8/3)</answer>'],
    ['the last tags', '<answer>3+3</answer> no: <answer> 8/(3-8/3) </answer>'],
    ['a box', 'so $\\boxed{8 \\div \\left(3 - 8 \\div 3\\right)}$'],
    ['signs of print', 'Answer: 8 ÷ (3 − 8 ÷ 3)'],
    ['a search', '(8) / (3) = 8/3, left: 8/3, 3, 8\nreach 24! expression: 8/(3-8/3)'],
    ['a trace', '8/3=8:3 3 8\n#8/(3-8/3)'],
  ])('finds the answer in %s', (_where, completion) => {
    expect(strict([8, 3, 8, 3], completion)).toBe('correct');
  });

  it('is exact with numbers of any size', () => {
    const big = 999_999_999_999_999;
    expect(strict([big, big, 1, big], `(${big}*${big}+1)-${big}*${big}`, 1)).toBe('wrong-numbers');
    expect(strict([big, big, 1, big, big], `(${big}*${big}+1)-${big}*${big}`, 1)).toBe('correct');
    expect(strict([big, big, big, big], `${big}*${big}-${big}*${big}`, 1)).toBe('wrong-value');
  });

  it('takes linear time on hostile text', () => {
    const started = process.cpuUsage().user;
    for (const text of [
      '('.repeat(1e6),
      '1+'.repeat(5e5),
      '<answer>'.repeat(1e5),
      '\\boxed{'.repeat(1e5),
      'answer:'.repeat(1e5),
      `${' '.repeat(1e6)}x`,
    ])
      for (const profile of ARITHMETIC_PROFILES)
        expect(gradeArithmetic(text, { numbers: [1, 2, 3, 4], target: 24 }, profile).verdict).toBe(
          'incorrect',
        );
    expect(process.cpuUsage().user - started).toBeLessThan(5_000_000);
  });

  it('agrees with exact fractions on random expressions', () => {
    const leaf = fc
      .integer({ min: 1, max: 13 })
      .map((n) => ({ text: String(n), value: fraction(n), used: [n] }));
    type Tree = { text: string; value: Fraction | null; used: number[] };
    const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
      tree: fc.oneof(
        { maxDepth: 3 },
        leaf,
        fc.tuple(tie('tree'), fc.constantFrom('+', '-', '*', '/'), tie('tree')).map(([a, op, b]) => ({
          text: `(${a.text}${op}${b.text})`,
          value: a.value && b.value && apply(a.value, op as Operator, b.value),
          used: [...a.used, ...b.used],
        })),
      ),
    }));
    fc.assert(
      fc.property(tree, fc.integer({ min: -30, max: 30 }), ({ text, value, used }, target) => {
        const expected =
          value === null ? 'division-by-zero' : equal(value, fraction(target)) ? 'correct' : 'wrong-value';
        expect(judgeExpression({ numbers: used.toReversed(), target }, text).reason).toBe(expected);
        if (value?.denominator === 1) {
          expect(judgeExpression({ numbers: used, target: value.numerator }, text).reason).toBe('correct');
          expect(judgeExpression({ numbers: [...used, 1], target: value.numerator }, text).reason).toBe(
            'wrong-numbers',
          );
        }
      }),
      { numRuns: 500 },
    );
  });

  it('lets numbers be left out where the puzzle does', () => {
    const puzzle = { numbers: [4, 6, 7], target: 24 };
    expect(judgeExpression(puzzle, '4*6').reason).toBe('wrong-numbers');
    expect(judgeExpression(puzzle, '4*6', { use: 'some' }).verdict).toBe('correct');
    expect(judgeExpression(puzzle, '4*6+7-7', { use: 'some' }).reason).toBe('wrong-numbers');
  });
});

describe("Python's arithmetic", () => {
  it.each([
    ['-2**2', -4],
    ['2**-1', 0.5],
    ['2**3**2', 512],
    ['7//2', 3],
    ['-7//2', -4],
    ['1.5*2', 3],
    ['--1', 1],
    ['2 - -2', 4],
    ['000', 0],
    ['10**20 // 10**19', 10],
  ])('%s is %d', (text, value) => {
    const result = evaluatePython(text);
    expect(result.ok && asFloat(result.value)).toBe(value);
  });

  it.each([
    ['007', 'malformed'],
    ['1 2', 'malformed'],
    ['3(4)', 'malformed'],
    ['1.2.3', 'malformed'],
    ['()', 'malformed'],
    ['1//0', 'division-by-zero'],
    ['0**-1', 'division-by-zero'],
    ['9**9**9**9', 'too-large'],
    ['(0-8)**0.5', 'not-real'],
    [`1${' '.repeat(3000)}`, 'too-large'],
  ])('%s has none', (text, reason) => {
    expect(evaluatePython(text)).toEqual({ ok: false, reason });
  });
});

describe("the search trace's rewards", () => {
  const right = [
    '(8) - (7) = 1, left: (8 - 7) = 1, 8, 10',
    '(10) - (8) = 2, left: (10 - 8) = 2, (8 - 7) = 1',
    'roll back, left: (8 - 7) = 1, 8, 10',
    'roll back, left: 8 10 8 7',
    'roll back, left: 8 10 8 7',
  ];
  const of = (lines: readonly string[], options = {}) =>
    searchTraceRewards([8, 10, 8, 7], lines.join('\n'), options);

  it('counts no error where states hold, and roll-back lines may repeat', () => {
    expect(of(right)).toMatchObject({ outcome: 0, process: 1, lines: 5, errorLines: 0 });
  });

  it('counts wrong equations, other numbers, repeated lines, lines without a state', () => {
    expect(of([...right, '(8) - (7) = 2, left: (8 - 7) = 2, 8, 10']).errorLines).toBe(1);
    expect(of([...right, 'left: (8 - 7) = 1, 8, 11']).errorLines).toBe(1);
    expect(of([...right, right[0]!]).errorLines).toBe(1);
    expect(of([...right, 'so I think']).errorLines).toBe(1);
    expect(of([...right, 'left: (8 - ']).errorLines).toBe(1);
  });

  it('counts two errors where the last expression has a wrong value, one where its numbers are others', () => {
    expect(of(['reach 24! expression: 8*3'])).toMatchObject({ outcome: 0, process: 0, errorLines: 1 });
    expect(of(['reach 24! expression: 8+10+8+7'])).toMatchObject({ process: -1, errorLines: 2 });
    expect(of(['reach 24! expression: 8+10+8+7'], { wrongOutcome: 0.35 }).outcome).toBe(0.35);
    expect(of(['reach 24! expression: 8*3', right[0]!])).toMatchObject({ outcome: 0, errorLines: 1 });
  });

  it('is 1 in all three for a short right search', () => {
    const found = searchTraceRewards(
      [13, 2, 2, 2],
      'user\n13 2 2 2\nassistant\nreach 24! expression: 2*(13-2/2)',
    );
    expect(found).toEqual({ outcome: 1, process: 1, length: 1, total: 1, lines: 1, errorLines: 0 });
  });

  it('falls with the length like a logistic with its middle at 24 lines', () => {
    const length = (count: number) => of(Array.from({ length: count }, () => right[3]!)).length;
    expect(length(4)).toBe(1);
    expect(length(5)).toBeCloseTo(1 / (1 + Math.exp(-3.8)), 12);
    expect(length(24)).toBe(0.5);
    expect(length(44)).toBeCloseTo(1 / (1 + Math.exp(4)), 12);
  });
});
