/** Owns the tests of the trace format: replay with exact fractions, the grammar, and hostile text. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { game24Problems, numbersOf, shuffledNumbers } from '../../src/data/game24.ts';
import { alphabet, parseTrace, promptText, writeTrace } from '../../src/data/game24-traces.ts';
import { judgeGame24 } from '../../src/rewards/index.ts';
import { add, divide, equal, type Fraction, fraction, multiply, subtract } from '../../src/util/fraction.ts';
import { Rng } from '../../src/util/rng.ts';
import { processorMs } from './timing.ts';

const problems = game24Problems();

function read(text: string): Fraction {
  const [numerator, denominator = '1'] = text.split(':');
  return fraction(Number(numerator), Number(denominator));
}

/** Replays a trace independently: every operand is in the state, every result exact, every state complete. */
function replay(numbers: readonly number[], trace: string): void {
  let state = numbers.map((number) => fraction(number));
  for (const line of trace.split('\n').slice(0, -1)) {
    if (line === 'x') {
      state = numbers.map((number) => fraction(number));
      continue;
    }
    const [, left, operator, right, after] = /^([\d:]+)([+\-*/])([\d:]+)=(.*)$/.exec(line)!;
    const a = read(left!);
    const b = read(right!);
    for (const operand of [a, b]) {
      const place = state.findIndex((number) => equal(number, operand));
      expect(place, `${line} of ${trace}`).toBeGreaterThanOrEqual(0);
      state.splice(place, 1);
    }
    const operations = { '+': add, '-': subtract, '*': multiply, '/': divide };
    const value = operations[operator as '+'](a, b)!;
    state = [value, ...state];
    expect(after!.split(' ').map(read)).toEqual(state);
  }
  expect(state).toHaveLength(1);
  expect(equal(state[0]!, fraction(24))).toBe(true);
}

describe('demonstrations', () => {
  it('are exact, keep the grammar, stay in the alphabet and end in a right answer, for every puzzle', () => {
    const letters = new Set(alphabet);
    for (const [i, problem] of problems.entries()) {
      const rng = new Rng({ seed: i, purpose: 'test' });
      const numbers = shuffledNumbers(problem, rng);
      const trace = writeTrace(numbers, rng);
      replay(numbers, trace);
      const parsed = parseTrace(trace);
      expect(parsed.ok).toBe(true);
      expect(judgeGame24(numbersOf(problem), parsed.answer!).verdict).toBe('correct');
      expect([...(promptText(numbers) + trace)].every((letter) => letters.has(letter))).toBe(true);
    }
  });

  it('hold 0 to 3 failed attempts, and none when told so', () => {
    const numbers = numbersOf(problems[5]!);
    const counts = new Set<number>();
    for (let seed = 0; seed < 200; seed++) {
      counts.add(parseTrace(writeTrace(numbers, new Rng({ seed, purpose: 'test' }))).rollbacks);
      const direct = writeTrace(numbers, new Rng({ seed, purpose: 'test' }), { attempts: 1, failure: 1 });
      expect(parseTrace(direct).rollbacks).toBe(0);
    }
    expect([...counts].sort()).toEqual([0, 1, 2, 3]);
  });

  it('are the same for the same stream and vary otherwise', () => {
    const numbers = numbersOf(problems[7]!);
    const write = (seed: number) => writeTrace(numbers, new Rng({ seed, purpose: 'test' }));
    expect(write(1)).toBe(write(1));
    expect(new Set(Array.from({ length: 50 }, (_, seed) => write(seed))).size).toBeGreaterThan(5);
  });
});

describe('the grammar', () => {
  it.each([
    ['3*8=24 1 1\n24*1=24 1\n24*1=24\n#3*8*1*1', true],
    ['3*8=24 1 1\nx\n3*8=24 1 1\n24*1=24 1\n24*1=24\n#3*8*1*1', true],
    ['3*8=24 1\n24*1=24\n#3*8*1', false], // a state too small
    ['x\n3*8=24 1 1\n24*1=24 1\n24*1=24\n#3*8', false], // nothing to give up
    ['3*8=24 1 1\n24*1=24 1\n#3*8*1*1', false], // not down to one number
    ['3*8=24 1 1\n24*1=24 1\n24*1=24', false], // no answer
    ['3*8=24 1 1\n24*1=24 1\n24*1=24\n#', false],
    ['3*8=24  1 1\n24*1=24 1\n24*1=24\n#1', false], // two spaces
    ['3**8=24 1 1\n24*1=24 1\n24*1=24\n#1', false],
    ['', false],
  ])('%j: %j', (text, ok) => {
    expect(parseTrace(text).ok).toBe(ok);
  });

  it('reads anything without failing, and fast', async () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...alphabet), maxLength: 200 }), (text) => {
        const { ok, answer } = parseTrace(text);
        return !ok || answer !== null;
      }),
    );
    const took = await processorMs(() => {
      parseTrace('1+1='.repeat(250_000));
      parseTrace(`${'x\n'.repeat(500_000)}#1`);
    });
    expect(took).toBeLessThan(2000);
  });
});
