/** Passes over the data in place of steps: exact, in the order of their seed, and the same after a stop. */

import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Recipe } from '../../src/recipe/index.ts';
import { readJsonl } from '../../src/util/jsonl.ts';
import { Harness, recipeWith } from './stage-harness.ts';

const harness = new Harness();
/** On 10 problems. */
const onFew = (stage: string): Recipe => {
  const recipe = recipeWith(stage);
  return { ...recipe, task: { ...recipe.task, subset: 10 } as Recipe['task'] };
};
const pairsFile = join(harness.folder, 'pairs.jsonl');
beforeAll(async () => {
  await harness.prepare(onFew(''));
  const pairs = Array.from({ length: 5 }, (_, i) => ({
    prompt: `${i + 1} 2 3 4\n`,
    chosen: `${i + 1}*2=3\n`,
    rejected: '2+3=4\n',
  }));
  writeFileSync(pairsFile, pairs.map((pair) => `${JSON.stringify(pair)}\n`).join(''));
});
afterAll(() => harness[Symbol.dispose]());

const problemsOf = (name: string): string[] =>
  readJsonl(join(harness.folder, name, 'rollouts', 'train.jsonl'), (line) =>
    String((line as { problemId: string }).problemId),
  );

const common = 'dataEpochs: 2, promptsPerStep: 3, groupSize: 2, microBatchTokens: 512, schedule: linear';

it.each(['grpo', 'dpo'])('%s sees every problem in every pass, the last step what is left', async (type) => {
  const recipe = onFew(`- { type: ${type}, ${common} }`);
  expect(await harness.run(recipe, type)).toBe('done');
  const problems = problemsOf(type);
  // 20 problems in steps of 3, two completions of each.
  expect(harness.metrics(type)).toHaveLength(7);
  expect(problems).toHaveLength(40);
  expect(new Set(problems.slice(0, 20)).size).toBe(10);
  expect(new Set(problems.slice(20)).size).toBe(10);
  expect(problems.slice(0, 20)).not.toEqual(problems.slice(20));

  expect(await harness.run(recipe, `${type}-stopped`, 3)).toBe('stopped');
  expect(await harness.run(recipe, `${type}-stopped`)).toBe('done');
  expect(harness.essence(`${type}-stopped`)).toEqual(harness.essence(type));
});

it('dpo passes over the pairs of a file', async () => {
  const stage = `- { type: dpo, dataEpochs: 2, pairsFile: ${JSON.stringify(pairsFile)}, optimizerBatch: 4, microBatchTokens: 512 }`;
  const recipe = recipeWith(stage);
  expect(await harness.run(recipe, 'file')).toBe('done');
  expect(harness.metrics('file').map((row) => row['preference/pairs'])).toEqual([4, 4, 2]);
  expect(readFileSync(join(harness.folder, 'file', 'rollouts', 'pairs.jsonl'), 'utf8')).toBe('');
});
