/** Owns the tests of the 24 game's verifier: what it accepts, what it must never accept, and that no text hurts it. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { game24Problems, numbersOf } from '../../src/data/game24.ts';
import { expressionOf, type Operator, solutions } from '../../src/data/game24-solver.ts';
import { judgeGame24, numbersIn, parseExpression } from '../../src/rewards/game24.ts';
import { processorMs } from './timing.ts';

const OPERATORS: readonly Operator[] = ['+', '-', '*', '/'];

/** The test's own tree, valued in bigints and written by the test: the parser under test has no part in it. */
type Tree = number | { operator: Operator; left: Tree; right: Tree };

function worth(tree: Tree): readonly [bigint, bigint] | null {
  if (typeof tree === 'number') return [BigInt(tree), 1n];
  const a = worth(tree.left);
  const b = worth(tree.right);
  if (a === null || b === null) return null;
  if (tree.operator === '+') return [a[0] * b[1] + b[0] * a[1], a[1] * b[1]];
  if (tree.operator === '-') return [a[0] * b[1] - b[0] * a[1], a[1] * b[1]];
  if (tree.operator === '*') return [a[0] * b[0], a[1] * b[1]];
  return b[0] === 0n ? null : [a[0] * b[1], a[1] * b[0]];
}

function reasonOf(tree: Tree): string {
  const value = worth(tree);
  if (value === null) return 'division-by-zero';
  return value[0] === 24n * value[1] ? 'correct' : 'not-24';
}

function binding(tree: Tree): number {
  return typeof tree === 'number' ? 3 : tree.operator === '+' || tree.operator === '-' ? 1 : 2;
}

/** With `minimal` only the parentheses that precedence and left association need, else all. */
function write(tree: Tree, minimal: boolean, space: string): string {
  if (typeof tree === 'number') return String(tree);
  const wrap = (child: Tree, needed: boolean): string => {
    const text = write(child, minimal, space);
    return typeof child !== 'number' && (needed || !minimal) ? `(${space}${text}${space})` : text;
  };
  const left = wrap(tree.left, binding(tree.left) < binding(tree));
  const right = wrap(tree.right, binding(tree.right) <= binding(tree));
  return `${left}${space}${tree.operator}${space}${right}`;
}

/** Builds a tree over the numbers in this order: `cuts` and `operators` say how. */
function build(numbers: readonly number[], cuts: number[], operators: Operator[]): Tree {
  if (numbers.length === 1) return numbers[0]!;
  const cut = 1 + (cuts.pop()! % (numbers.length - 1));
  const operator = operators.pop()!;
  return {
    operator,
    left: build(numbers.slice(0, cut), cuts, operators),
    right: build(numbers.slice(cut), cuts, operators),
  };
}

const hand = fc.array(fc.integer({ min: 1, max: 13 }), { minLength: 4, maxLength: 4 });
const cuts = fc.array(fc.nat(5), { minLength: 3, maxLength: 3 });
const operators = fc.array(fc.constantFrom(...OPERATORS), { minLength: 3, maxLength: 3 });
const space = fc.constantFrom('', ' ', '  ');
/** A puzzle with one of its solutions as a text without spaces. */
const solved = fc.constantFrom(...game24Problems()).chain((problem) => {
  const numbers = numbersOf(problem);
  return fc
    .constantFrom(...solutions(numbers))
    .map((steps) => ({ numbers, text: expressionOf(numbers, steps) }));
});

const reason = (numbers: readonly number[], text: string): string => judgeGame24(numbers, text).reason;

describe('accepts', () => {
  test('the first solutions of every puzzle', () => {
    for (const problem of game24Problems()) {
      const numbers = numbersOf(problem);
      for (const steps of solutions(numbers, 5)) {
        const text = expressionOf(numbers, steps);
        expect(judgeGame24(numbers, text)).toEqual({
          verdict: 'correct',
          reason: 'correct',
          extracted: text,
        });
      }
    }
  });

  test('exactly the trees that are worth 24, with the numbers in any order', () => {
    fc.assert(
      fc.property(hand, cuts, operators, space, fc.boolean(), (numbers, c, o, gap, minimal) => {
        const tree = build(numbers, [...c], [...o]);
        expect(reason([...numbers].reverse(), write(tree, minimal, gap))).toBe(reasonOf(tree));
      }),
      { numRuns: 2000 },
    );
  });

  test('needless parentheses and spaces', () => {
    for (const text of ['((8))/(3-8/3)', ' 8 / ( 3 - 8 / 3 ) ', '(8/(3-(8/3)))']) {
      expect(reason([3, 3, 8, 8], text)).toBe('correct');
    }
    expect(reason([3, 3, 8, 8], `${'('.repeat(32)}8${')'.repeat(32)}/(3-8/3)`)).toBe('correct');
  });
});

describe('rejects', () => {
  test('a solution with an operator replaced, iff its value is then another', () => {
    fc.assert(
      fc.property(
        hand,
        cuts,
        operators,
        fc.nat(2),
        fc.constantFrom(...OPERATORS),
        (numbers, c, o, at, other) => {
          const changed = o.map((operator, i) => (i === at ? other : operator));
          const tree = build(numbers, [...c], changed);
          expect(reason(numbers, write(tree, true, ''))).toBe(reasonOf(tree));
        },
      ),
    );
    fc.assert(
      fc.property(solved, fc.nat(), ({ numbers, text }, pick) => {
        const places = [...text].flatMap((ch, i) => ('+-*/'.includes(ch) ? [i] : []));
        const at = places[pick % places.length]!;
        expect(reason(numbers, `${text.slice(0, at)}^${text.slice(at + 1)}`)).toBe('malformed');
        expect(reason(numbers, `${text.slice(0, at)}${text[at]}${text.slice(at)}`)).toBe('malformed');
        expect(reason(numbers, `${text.slice(0, at)}${text.slice(at + 1)}`)).not.toBe('correct');
        expect(reason(numbers, `${text.slice(0, at)} ${text.slice(at + 1)}`)).toBe('malformed');
      }),
    );
  });

  test('a number replaced, repeated, glued or left out', () => {
    fc.assert(
      fc.property(solved, fc.nat(), fc.integer({ min: 0, max: 99 }), ({ numbers, text }, pick, other) => {
        const found = [...text.matchAll(/\d+/g)];
        const { index, 0: digits } = found[pick % found.length]!;
        const put = (replacement: string): string =>
          text.slice(0, index) + replacement + text.slice(index + digits.length);
        const expected = other === Number(digits) ? 'correct' : 'wrong-numbers';
        expect(reason(numbers, put(String(other)))).toBe(expected);
        expect(reason(numbers, put(`${digits}${other}`))).toBe('wrong-numbers');
        expect(reason(numbers, put(`0${digits}`))).toBe('malformed');
        expect(reason(numbers, put(`${digits} ${other}`))).toBe('malformed');
        expect(reason(numbers, put(`(${digits}+0)`))).toBe('wrong-numbers');
        expect(reason(numbers, put(`(-${digits})`))).toBe('malformed');
        expect(reason(numbers, put(`${digits}.0`))).toBe('malformed');
        expect(reason(numbers, `${text}*${digits}/${digits}`)).toBe('wrong-numbers');
        expect(reason([...numbers, 1], text)).toBe('wrong-numbers');
      }),
    );
  });

  test('anything before or after', () => {
    const garbage = fc.oneof(
      fc.constantFrom(
        '=24',
        ' = 24',
        '.',
        ')',
        '(',
        '!',
        '\n',
        '\t',
        '\u00a0',
        '+',
        '**1',
        '//1',
        '#',
        ';',
        '\u0000',
      ),
      fc.string({ minLength: 1, maxLength: 20 }).filter((s) => /[^ ()+\-*/\d]/.test(s)),
    );
    fc.assert(
      fc.property(solved, garbage, ({ numbers, text }, extra) => {
        expect(reason(numbers, text + extra)).toBe('malformed');
        if (extra !== '(' && extra !== '+') expect(reason(numbers, extra + text)).toBe('malformed');
      }),
    );
  });

  test.each([
    ['', 'no-answer'],
    ['   ', 'no-answer'],
    ['24', 'wrong-numbers'],
    ['(3+3)*(8/2)', 'wrong-numbers'],
    ['3*8', 'wrong-numbers'],
    ['38-8-3*2', 'wrong-numbers'],
    ['8/(3-8/3)=24', 'malformed'],
    ['3**8+3+8', 'malformed'],
    ['8//3*3*8', 'malformed'],
    ['3!*8/(8-3)', 'malformed'],
    ['(3)(8)+3-8', 'malformed'],
    ['3(8)+3-8', 'malformed'],
    ['-3+3*8+8', 'malformed'],
    ['+8/(3-8/3)', 'malformed'],
    ['8/(3--8/3)', 'malformed'],
    ['8.0/(3-8/3)', 'malformed'],
    ['8e0/(3-8/3)', 'malformed'],
    ['0x8/(3-8/3)', 'malformed'],
    ['8_/(3-8/3)', 'malformed'],
    ['8×(3-8/3)', 'malformed'],
    ['８/(3-8/3)', 'malformed'],
    ['٨/(3-8/3)', 'malformed'],
    ['8\u2044(3-8/3)', 'malformed'],
    ['8/(3\u22128/3)', 'malformed'],
    ['8/(3-8/3', 'malformed'],
    ['8/3-8/3)', 'malformed'],
    ['()', 'malformed'],
    ['8/[3-8/3]', 'malformed'],
    ['sqrt(8)*3+3+8', 'malformed'],
    ['8/(3-3)*8', 'division-by-zero'],
    ['8/(8/(3-3))', 'division-by-zero'],
    ['3+3+8+8', 'not-24'],
    ['8*3*(8/3)', 'not-24'],
  ])('%j: %s', (text, expected) => {
    const judged = judgeGame24([3, 3, 8, 8], text);
    expect(judged).toEqual({ verdict: 'incorrect', reason: expected, extracted: text });
  });
});

describe('no text hurts it', () => {
  test('random strings never throw, and only a real solution is correct', () => {
    const nearly = fc.string({ unit: fc.constantFrom(...'0123456789+-*/() .'), maxLength: 60 });
    fc.assert(
      fc.property(fc.oneof(nearly, fc.string({ unit: 'binary', maxLength: 300 })), (text) => {
        const judged = judgeGame24([1, 2, 3, 4], text);
        const parsed = parseExpression(text);
        expect(judged.verdict).not.toBe('unverifiable');
        if (judged.verdict !== 'correct') return;
        expect(parsed.ok && numbersIn(parsed.expression).sort()).toEqual([1, 2, 3, 4]);
      }),
      { numRuns: 2000 },
    );
  });

  test.each([
    ['a megabyte of digits', '1'.repeat(1_000_000)],
    ['a megabyte of spaces', ' '.repeat(1_000_000)],
    ['10,000 open parentheses', '('.repeat(10_000)],
    ['10,000 nested parentheses', `${'('.repeat(10_000)}8${')'.repeat(10_000)}`],
    ['33 nested parentheses', `${'('.repeat(33)}8${')'.repeat(33)}/(3-8/3)`],
    ['200 open parentheses', '('.repeat(200)],
  ])('%s', async (_, text) => {
    let judged = judgeGame24([3, 3, 8, 8], '');
    const took = await processorMs(() => {
      judged = judgeGame24([3, 3, 8, 8], text);
    });
    expect(took).toBeLessThan(250);
    expect(judged.reason).toBe('too-long');
    expect(judged.extracted.length).toBeLessThanOrEqual(200);
  });

  test('huge literals are malformed or wrong, and never rounded into a given number', () => {
    expect(reason([3, 3, 8, 8], `8/(3-8/3)+${'9'.repeat(150)}`)).toBe('malformed');
    expect(reason([1, 1, 1, 2 ** 53 - 1], `${2 ** 53}+1+1+1`)).toBe('malformed');
    const big = 999_999_999_999_999;
    const judged = judgeGame24([big, big, big, 1], `${big}*${big}*${big}*1`);
    expect(judged).toMatchObject({ verdict: 'unverifiable', reason: 'overflow' });
  });
});
