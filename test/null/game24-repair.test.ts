import { describe, expect, it } from 'vitest';
import { numbersOf, shuffledNumbers, splitGame24 } from '../../src/data/game24.ts';
import { writeTrace } from '../../src/data/game24-traces.ts';
import { checkedLines } from '../../src/rewards/game24-process.ts';
import { repairTrace } from '../../src/rewards/game24-repair.ts';
import { Rng } from '../../src/util/rng.ts';

const rng = new Rng({ seed: 5, purpose: 'test' });
const numbers = [3, 8, 8, 9];

describe('the repair of a trace', () => {
  it('puts a right line in the place of the first wrong one, whatever was damaged', () => {
    const problems = rng.shuffled(splitGame24().train).slice(0, 150);
    let repairs = 0;
    for (const problem of problems) {
      const order = shuffledNumbers(problem, rng);
      expect(order.toSorted((a, b) => a - b)).toEqual(numbersOf(problem).toSorted((a, b) => a - b));
      const trace = writeTrace(order, rng);
      expect(repairTrace(order, { completion: trace, finished: true }, rng)).toBeNull();
      const digits = [...trace].flatMap((character, i) => (/\d/.test(character) ? [i] : []));
      const place = rng.pick(digits);
      const damaged = `${trace.slice(0, place)}${(Number(trace[place]) + 1) % 10}${trace.slice(place + 1)}`;
      const wrongAt = checkedLines(order, damaged, true).findIndex((line) => !line.right);
      const repair = repairTrace(order, { completion: damaged, finished: true }, rng);
      if (wrongAt < 0) continue;
      repairs++;
      expect(repair).not.toBeNull();
      const { before, wrong, right } = repair!;
      expect(damaged.startsWith(before + wrong)).toBe(true);
      expect(before.split('\n').length - 1).toBe(wrongAt);
      const mended = checkedLines(order, before + right, !right.endsWith('\n'));
      expect(mended.length).toBe(wrongAt + 1);
      expect(mended.every((line) => line.right)).toBe(true);
    }
    expect(repairs).toBeGreaterThan(100);
  });

  it('gives up where nothing leads to 24, once, and goes on where something does', () => {
    const repaired = (completion: string) => repairTrace(numbers, { completion, finished: false }, rng);
    expect(repaired('8-8=0 3 9\n3+9=13 0\n')).toEqual({
      before: '8-8=0 3 9\n',
      wrong: '3+9=13 0\n',
      right: 'x\n',
    });
    expect(repaired('8-8=0 3 9\nx\n8-8=0 3 9\nx\n')?.right).toMatch(/=\d+ \d+\n$/);
    expect(repaired('8/8=1 3 9\nx\n')?.right).toBe('9-1=8 3\n');
  });

  it('does not look at a last line that was cut off', () => {
    expect(repairTrace(numbers, { completion: '9-8=1 3 8\n8/8', finished: false }, rng)).toBeNull();
    expect(repairTrace(numbers, { completion: '9-8=1 3 8\n8/8', finished: true }, rng)).toMatchObject({
      before: '9-8=1 3 8\n',
      wrong: '8/8',
    });
  });

  it('writes the answer where 24 is made', () => {
    expect(
      repairTrace(
        [3, 3, 8, 8],
        { completion: '8/3=8:3 3 8\n3-8:3=1:3 8\n8/1:3=24\n#8/3', finished: true },
        rng,
      ),
    ).toEqual({
      before: '8/3=8:3 3 8\n3-8:3=1:3 8\n8/1:3=24\n',
      wrong: '#8/3',
      right: '#8/(3-(8/3))',
    });
  });
});
