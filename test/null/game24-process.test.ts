/** Owns the proof that line checking accepts what demonstrations do and finds every kind of slip once. */

import { describe, expect, it } from 'vitest';
import { game24Problems, numbersOf, shuffledNumbers } from '../../src/data/game24.ts';
import { writeTrace } from '../../src/data/game24-traces.ts';
import { checkProcess } from '../../src/rewards/game24-process.ts';
import { Rng } from '../../src/util/rng.ts';
import { processorMs } from './timing.ts';

const numbers = [2, 8, 12, 12];
const right = '12/2=6 8 12\n8-6=2 12\n12*2=24\n#12*(8-(12/2))';

describe('checkProcess', () => {
  it('finds no error in any demonstration', () => {
    for (const [i, problem] of game24Problems().entries()) {
      const rng = new Rng({ seed: i, purpose: 'test' });
      const shuffled = shuffledNumbers(problem, rng);
      const trace = writeTrace(shuffled, rng);
      expect(checkProcess(numbersOf(problem), trace, true)).toEqual({
        lines: trace.split('\n').length,
        errors: 0,
      });
    }
  });

  it.each([
    ['a wrong result, once', '12/2=5 8 12\n8-5=3 12\n12*3=36\n#12*(8-(12/2))', 1],
    ['an operand that is not there', right.replace('12/2=6', '18/3=6'), 1],
    ['the same number twice where there is one', '8*8=64 12 12\n#1', 2],
    ['a number lost', right.replace('6 8 12', '6 8'), 2],
    ['a number changed', right.replace('6 8 12', '6 8 13'), 2],
    ['a made-up ending', '12/2=6 8 12\n222+2=24\n#12+12', 2],
    ['the four numbers given up', `x\n${right}`, 1],
    ['no grammar', `hello\n${right}`, 1],
    ['division by zero', '12-12=0 2 8\n8/0=8 2\n#1', 2],
    ['a zero denominator', '12/2=6:0 8 12\n#12*(8-(12/2))', 1],
    ['an order of its own is no slip', right.replace('6 8 12', '12 6 8'), 0],
    ['a wrong answer after right steps', '2+8=10 12 12\n10+12=22 12\n22+12=34\n#2+8+12+12', 1],
    ['an attempt given up for good reason', `2+8=10 12 12\n10+12=22 12\nx\n${right}`, 0],
    [
      'the same state given up again, however it was reached',
      `2+8=10 12 12\n10+12=22 12\nx\n8+2=10 12 12\n12+10=12 22\nx\n${right}`,
      1,
    ],
    ['a state given up that is a step from 24', `12/2=6 8 12\n8-6=2 12\nx\n${right}`, 1],
  ])('%s', (_name, text, errors) => {
    expect(checkProcess(numbers, text, true).errors).toBe(errors);
  });

  it('does not count a last line that was cut off', () => {
    expect(checkProcess(numbers, '12/2=6 8 12\n8-', false)).toEqual({ lines: 1, errors: 0 });
    expect(checkProcess(numbers, '8-', false)).toEqual({ lines: 0, errors: 0 });
  });

  it('is fast on anything', async () => {
    const took = await processorMs(() => {
      checkProcess(numbers, '1'.repeat(1_000_000), true);
      checkProcess(numbers, '1=1\n'.repeat(200_000), true);
      checkProcess(numbers, '1+1=1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8 9\nx\n'.repeat(1000), true);
    });
    expect(took).toBeLessThan(3000);
  });
});
