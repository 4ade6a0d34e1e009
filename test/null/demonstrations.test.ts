import { expect, it } from 'vitest';
import { game24Task } from '../../src/rewards/index.ts';
import { characterTokenizer } from '../../src/text/index.ts';
import { type DemonstrationSource, demonstrationBatches } from '../../src/train/demonstrations.ts';

const task = game24Task(0);
const tokenizer = characterTokenizer(task.alphabet);
const { train } = task.splits;

/** How often each puzzle is shown in these steps, whatever the order of its numbers. */
function visits(source: Partial<DemonstrationSource>, steps: number): Map<string, number> {
  const batchOf = demonstrationBatches({
    task,
    tokenizer,
    count: 20,
    seed: 5,
    maxPositions: 4096,
    ...source,
  });
  const seen = new Map<string, number>();
  for (let step = 1; step <= steps; step++)
    for (const { promptIds } of batchOf(step)) {
      const key = tokenizer.decode(promptIds).trim().split(' ').sort().join(' ');
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
  return seen;
}

it.each([
  [1, 20],
  [2, 20],
  [3, 7],
])('%i passes over the problems in batches of %i show each so often', (passes, count) => {
  const total = passes * train.length;
  const seen = visits({ count, total }, Math.ceil(total / count));
  expect(seen.size).toBe(train.length);
  expect(new Set(seen.values())).toEqual(new Set([passes]));
});

it('the last batch of whole passes is the one that may be smaller', () => {
  const batchOf = demonstrationBatches({
    task,
    tokenizer,
    count: 50,
    seed: 5,
    maxPositions: 4096,
    total: 120,
  });
  expect([1, 2, 3].map((step) => batchOf(step).length)).toEqual([50, 50, 20]);
});
