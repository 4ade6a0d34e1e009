/** Owns the tests of split expressions, seeded splits and subsets. */

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Problem } from '../../src/data/problem.ts';
import { parseSplit, selectSplit } from '../../src/data/split-expression.ts';
import { planSplits, subsetOf } from '../../src/data/splits.ts';

const numbers = (count: number, from = 0): number[] => Array.from({ length: count }, (_, i) => from + i);
const data = new Map([
  ['train', numbers(250)],
  ['test', numbers(50, 1000)],
]);
const select = (expression: string): number[] => selectSplit(data, expression);

describe('a split expression', () => {
  it.each([
    ['train', numbers(250)],
    ['train[:]', numbers(250)],
    ['test[10:20]', numbers(10, 1010)],
    ['test[-5:]', numbers(5, 1045)],
    ['test[:-45]', numbers(5, 1000)],
    ['test[-3:-1]', [1047, 1048]],
    ['train[240:9999]', numbers(10, 240)],
    ['train[20:10]', []],
    ['train[:5%]', numbers(12)],
    ['train[-2%:]', numbers(5, 245)],
    ['train[1%:3%]', numbers(6, 2)],
    ['train[:1%](pct1_dropremainder)', numbers(2)],
    ['train[99%:](pct1_dropremainder)', numbers(52, 198)],
    [' train[:2] + test[:1]', [0, 1, 1000]],
    ['all', [...numbers(250), ...numbers(50, 1000)]],
    ['all[-1:]', [1049]],
  ])('%s', (expression, expected) => {
    expect(select(expression)).toEqual(expected);
  });

  it('cut at any percentages gives parts that meet, as Python rounds them', () => {
    const cuts = fc.array(fc.integer({ min: 0, max: 100 }), { maxLength: 6 });
    fc.assert(
      fc.property(fc.nat({ max: 400 }), cuts, (size, inner) => {
        const rows = new Map([['train', numbers(size)]]);
        const ends = [0, ...inner.sort((a, b) => a - b), 100];
        const expression = ends.slice(1).map((end, i) => `train[${ends[i]}%:${end}%]`);
        expect(selectSplit(rows, expression.join('+'))).toEqual(numbers(size));
      }),
    );
  });

  it('slices rows as JavaScript and Python slice lists', () => {
    const end = fc.option(fc.integer({ min: -60, max: 60 }));
    fc.assert(
      fc.property(end, end, (from, to) => {
        const expected = data.get('test')!.slice(from ?? 0, to ?? undefined);
        expect(select(`test[${from ?? ''}:${to ?? ''}]`)).toEqual(expected);
      }),
    );
  });

  it('is read back from what it is written as', () => {
    const slice = fc.record({
      split: fc.constantFrom('train', 'test_2', 'a.b'),
      from: fc.option(fc.integer({ min: -100, max: 100 })),
      to: fc.option(fc.integer({ min: -100, max: 100 })),
      percent: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(slice, { minLength: 1, maxLength: 4 }), (slices) => {
        const text = slices.map(({ split, from, to, percent }) => {
          const end = (value: number | null): string =>
            value === null ? '' : `${value}${percent ? '%' : ''}`;
          return `${split}[${end(from)}:${end(to)}]`;
        });
        const read = parseSplit(text.join('+'));
        expect(read).toEqual(
          slices.map(({ split, from, to, percent }) => ({
            split,
            from,
            to,
            unit: percent && (from !== null || to !== null) ? '%' : 'rows',
            rounding: 'closest',
          })),
        );
      }),
    );
  });

  it.each([
    ['', "'' is no split"],
    ['train[5]', 'no split with an optional slice'],
    ['train[:5%', 'no split with an optional slice'],
    ['train[1.5%:]', 'no split with an optional slice'],
    ['train[10:20%]', 'mixes rows and percent'],
    ['train[:101%]', 'beyond 100'],
    ['train[:5%](nearest)', 'the rounding nearest is unknown'],
    ['test[:5%](pct1_dropremainder)', 'at least 100 rows and test has 50'],
    ['train+', "'' is no split"],
    ['validation', 'found validation; name one of them'],
  ])('is refused: %j', (expression, message) => {
    expect(() => select(expression)).toThrow(message);
  });
});

const problems = (split: string, count: number): Problem[] =>
  numbers(count).map((i) => ({ id: `${split}/${i}`, question: `${i}?`, reference: `${i}`, meta: {} }));
const idsOf = (list: readonly Problem[]): string[] => list.map(({ id }) => id);

describe('splits', () => {
  const set = new Map([
    ['train', problems('train', 300)],
    ['test', problems('test', 40)],
  ]);

  it('draw validation from train by seed and leave the test part as it is', () => {
    const splits = planSplits(set, { validation: 100 }, 7);
    expect(idsOf(splits.test)).toEqual(idsOf(set.get('test')!));
    expect([splits.train.length, splits.validation.length]).toEqual([200, 100]);
    expect(idsOf([...splits.train, ...splits.validation]).sort()).toEqual(idsOf(set.get('train')!).sort());
    expect(planSplits(set, { validation: 100 }, 7)).toEqual(splits);
    expect(idsOf(planSplits(set, { validation: 100 }, 8).validation)).not.toEqual(idsOf(splits.validation));
  });

  it('follow expressions, and refuse those that share a problem', () => {
    const plan = { train: 'train[:50%]+test[:10]', validation: 'train[50%:]', test: 'test[10:]' };
    const splits = planSplits(set, plan, 0);
    expect([splits.train.length, splits.validation.length, splits.test.length]).toEqual([160, 150, 30]);
    expect(() => planSplits(set, { ...plan, test: 'test[9:]' }, 0)).toThrow(
      'found test/9 in train and in test',
    );
    expect(() => planSplits(set, { train: 'train+train[:1]' }, 0)).toThrow('found train/0 twice in train');
    expect(() => planSplits(set, { validation: 300 }, 0)).toThrow(
      /some of 300 problems to be left to train on, found \d+ for validation and \d+ for test; lower the task's keys/,
    );
  });

  it('take held-out rows out of the train part, and draw a tenth where there is only one split', () => {
    const taken = planSplits(set, { test: 'train[:30]', validation: 0 }, 0);
    expect([taken.train.length, taken.test.length]).toEqual([270, 30]);
    const alone = planSplits(new Map([['train', problems('train', 50)]]), {}, 0);
    expect([alone.train.length, alone.validation.length, alone.test.length]).toEqual([40, 5, 5]);
    const onlyTest = planSplits(new Map([['test', problems('test', 50)]]), {}, 0);
    expect([onlyTest.train.length, onlyTest.validation.length, onlyTest.test.length]).toEqual([40, 5, 5]);
  });

  it('have nested subsets', () => {
    const all = problems('train', 300);
    const [small, large] = [subsetOf(all, 20, 3), subsetOf(all, 100, 3)];
    expect(large.slice(0, 20)).toEqual(small);
    expect(new Set(idsOf(large)).size).toBe(100);
    expect(() => subsetOf(all, 301, 3)).toThrow('at most 300 problems, found 301');
  });
});
