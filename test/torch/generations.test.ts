/** A teacher's completions in a file: sampled once a prompt, found by model, prompt and settings, whole after any cut. */

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { game24Task } from '../../src/rewards/index.ts';
import { characterTokenizer } from '../../src/text/index.ts';
import { Generations } from '../../src/train/generations.ts';
import { assertNoLeaks, tinyModel } from './tiny.ts';

assertNoLeaks();

let folder = '';
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'reckon-generations-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const task = game24Task(0);
const tokenizer = characterTokenizer(task.alphabet);
const options = {
  promptsPerStep: 3,
  groupSize: 2,
  sampling: { temperature: 1, topP: 1, maxCompletionTokens: 8 },
};
const path = () => join(folder, 'kept.jsonl');
const lines = () => readFileSync(path(), 'utf8').trim().split('\n').length;

/** The completions of a step's groups, by a teacher of these weights. */
async function completions(
  step: number,
  asked: Partial<typeof options> = {},
  fingerprint = 'one',
  seedOfWeights = 1,
): Promise<(readonly number[])[][]> {
  using model = tinyModel({ vocabSize: tokenizer.size }, 'f32', seedOfWeights);
  using kept = new Generations(path(), { model, fingerprint, tokenizer });
  const groups = await kept.groups(task, { ...options, ...asked }, step, 5);
  expect(groups.map(({ rollouts }) => rollouts.map((one) => one.sampleIndex))).toEqual(
    groups.map(() => Array.from({ length: asked.groupSize ?? 2 }, (_, i) => i)),
  );
  for (const { problem, rollouts } of groups)
    for (const one of rollouts) {
      expect(one.problemId).toBe(problem.id);
      expect(one.text).toBe(tokenizer.decode(one.completionIds));
    }
  return groups.map(({ rollouts }) => rollouts.map((one) => one.completionIds));
}

it('reads again what it sampled, without the model that sampled it', async () => {
  const first = await completions(1);
  expect(lines()).toBe(6);
  expect(await completions(1, {}, 'one', 2)).toEqual(first);
  expect(lines()).toBe(6);
});

it('samples anew for other prompts, settings and teachers', async () => {
  const first = await completions(1);
  await completions(2);
  expect(lines()).toBe(12);
  const hot = { sampling: { ...options.sampling, temperature: 1.5 } };
  expect(await completions(1, hot)).not.toEqual(first);
  expect(lines()).toBe(18);
  expect(await completions(1, {}, 'two', 2)).not.toEqual(first);
  expect(lines()).toBe(24);
  expect(await completions(1)).toEqual(first);
});

it('adds the samples that are missing and keeps those it has', async () => {
  const two = await completions(1);
  const three = await completions(1, { groupSize: 3 });
  expect(lines()).toBe(9);
  expect(three.map((group) => group.slice(0, 2))).toEqual(two);
});

it('goes on after a cut in the middle of a line as if there had been none', async () => {
  const whole = await completions(1);
  const text = readFileSync(path(), 'utf8');
  writeFileSync(path(), text.slice(0, Math.floor(text.length * 0.6)));
  expect(await completions(1)).toEqual(whole);
  expect(lines()).toBe(6);
});
