/** Owns the proof that a recipe on a data set runs whole: read, taught, rewarded by the grader, evaluated, reported. */

import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { parseRecipe } from '../../src/recipe/index.ts';
import { closeGraders } from '../../src/rewards/grade/grade.ts';
import { executeRun } from '../../src/run/index.ts';
import { resolveCompute, stageFunctions } from '../../src/run/stage-functions.ts';

const folder = mkdtempSync(join(tmpdir(), 'reckon-data-task-'));
afterAll(async () => {
  await closeGraders();
  rmSync(folder, { recursive: true, force: true });
});

const rows = (count: number, from: number): string =>
  Array.from({ length: count }, (_, i) => from + i)
    .map(
      (n) =>
        `${JSON.stringify({ question: `Add 1 to ${n}.`, answer: `${n}+1=<<${n}+1=${n + 1}>>${n + 1}\n#### ${n + 1}` })}\n`,
    )
    .join('');

it('teaches gsm8k from a folder, and its report says that seed2 trains on official test rows', async () => {
  mkdirSync(join(folder, 'gsm8k'));
  writeFileSync(join(folder, 'gsm8k', 'train.jsonl'), rows(30, 0));
  writeFileSync(join(folder, 'gsm8k', 'test.jsonl'), rows(10, 100));
  const recipe = parseRecipe(
    `version: 1
name: words
task: { name: gsm8k, path: ${JSON.stringify(join(folder, 'gsm8k'))}, prompt: question-only, split: seed2 }
model: { init: { hiddenSize: 32, layers: 1, heads: 2, keyValueHeads: 1, intermediateSize: 64, maxPositions: 160 } }
compute: { dtype: f32, threads: 1 }
sampling: { maxCompletionTokens: 40 }
evaluation: { samplesPerProblem: 1 }
stages:
  - type: prepare
  - { type: sft, steps: 4, optimizerBatch: 4, warmupSteps: 0 }
  - { type: grpo, steps: 1, promptsPerStep: 2, groupSize: 2, warmupSteps: 0, rewards: [{ name: correct, weight: 1 }, { name: format, weight: 1 }] }
  - { type: evaluate, label: end }
  - type: report
`,
    'recipe.yaml',
  );
  const said: string[] = [];
  const result = await executeRun(recipe, {
    runsDirectory: join(folder, 'runs'),
    quiet: false,
    stream: { isTTY: false, write: (text: string) => said.push(text) > 0 },
    load: async () => ({ stageFunctions, resolveCompute }),
  });
  expect(result.status).toBe('done');
  const run = join(folder, 'runs', 'words');
  const note = /questions of the official test part are trained on/;
  expect(said.join('')).toMatch(note);
  expect(readFileSync(join(run, 'report.md'), 'utf8')).toMatch(note);
  const evaluation = JSON.parse(readFileSync(join(run, 'evaluations', 'end.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  expect(evaluation).toMatchObject({ task: 'gsm8k', n: 10, unverifiable: 0 });
  const problems = readFileSync(join(run, '01-prepare', 'problems', 'train.jsonl'), 'utf8')
    .trim()
    .split('\n');
  expect(problems).toHaveLength(20);
});

describe('a prompt that leaves no room for a completion', () => {
  const path = join(folder, 'long');
  const long = `Add 1 to ${'1'.repeat(150)}.`;
  mkdirSync(path);
  writeFileSync(
    join(path, 'train.jsonl'),
    `${rows(30, 0)}${JSON.stringify({ question: long, answer: '1+1=<<1+1=2>>2\n#### 2' })}\n`,
  );
  writeFileSync(join(path, 'test.jsonl'), rows(10, 100));
  const shared = 'steps: 10, promptsPerStep: 3, groupSize: 2';

  it.each([
    ['grpo', `${shared}, rewards: [{ name: correct, weight: 1 }]`],
    ['ppo', 'steps: 10, promptsPerStep: 3, optimizerBatch: 3, rewards: [{ name: correct, weight: 1 }]'],
    ['expert-iteration', shared],
    ['dpo', shared],
    [
      'distill',
      `${shared}, teacher: ${JSON.stringify(join(folder, 'runs', 'long-grpo', '01-prepare', 'checkpoints', 'step-000000'))}`,
    ],
  ])('is found by %s before its first step', async (type, keys) => {
    const recipe = parseRecipe(
      `version: 1
name: long-${type}
task: { name: gsm8k, path: ${JSON.stringify(path)}, prompt: question-only, splits: { validation: 1 } }
model: { init: { hiddenSize: 32, layers: 1, heads: 2, keyValueHeads: 1, intermediateSize: 64, maxPositions: 160 } }
compute: { dtype: f32, threads: 1 }
sampling: { maxCompletionTokens: 40 }
stages:
  - type: prepare
  - { type: ${type}, ${keys} }
`,
      'recipe.yaml',
    );
    const result = executeRun(recipe, {
      runsDirectory: join(folder, 'runs'),
      quiet: true,
      stream: { isTTY: false, write: () => true },
      load: async () => ({ stageFunctions, resolveCompute }),
    });
    await expect(result).rejects.toThrow(
      /1 of 30 problems have prompts of more than 120 tokens .*: 1\d\d\); .* task.maxPromptTokens: 120/,
    );
    const lines = join(folder, 'runs', `long-${type}`, `02-${type}`, 'metrics.jsonl');
    expect(existsSync(lines) ? readFileSync(lines, 'utf8') : '').toBe('');
  });
});

describe('what a stage reads long after the recipe began', () => {
  const longRow = (answer: string): string =>
    `${JSON.stringify({ question: 'Add 1 to 1.', answer: `${answer}\n#### 2` })}\n`;
  const many = Array.from({ length: 300 }, (_, n) => `Add 1 to ${n}.`);

  const start = (name: string, data: string, stages: string) =>
    executeRun(
      parseRecipe(
        `version: 1
name: ${name}
task: { name: gsm8k, path: ${JSON.stringify(join(folder, data))}, prompt: question-only, splits: { validation: 1 } }
model: { init: { hiddenSize: 32, layers: 1, heads: 2, keyValueHeads: 1, intermediateSize: 64, maxPositions: 160 } }
compute: { dtype: f32, threads: 1 }
sampling: { maxCompletionTokens: 40 }
stages:
  - type: prepare
${stages}`,
        'recipe.yaml',
      ),
      {
        runsDirectory: join(folder, 'runs'),
        quiet: true,
        stream: { isTTY: false, write: () => true },
        load: async () => ({ stageFunctions, resolveCompute }),
      },
    );
  const sft = (steps: number) =>
    `  - { type: sft, steps: ${steps}, optimizerBatch: 1, minLearningRateRatio: 0.1 }\n`;
  const ran = (name: string, stage: string) => existsSync(join(folder, 'runs', name, stage));

  it('a prompt to be evaluated is measured before anything is trained', async () => {
    mkdirSync(join(folder, 'late-test'));
    writeFileSync(join(folder, 'late-test', 'train.jsonl'), rows(30, 0));
    const question = `Add 1 to ${'1'.repeat(150)}.`;
    writeFileSync(
      join(folder, 'late-test', 'test.jsonl'),
      `${rows(10, 100)}${JSON.stringify({ question, answer: '#### 2' })}\n`,
    );
    await expect(start('test', 'late-test', `${sft(2)}  - { type: evaluate, label: end }\n`)).rejects.toThrow(
      /^03-evaluate-end: 1 of 11 test problems have prompts of more than 120 tokens \(.*: 1\d\d\); .* task.maxPromptTokens: 120/,
    );
    expect(ran('test', '02-sft')).toBe(false);
    const measured = `  - { type: grpo, steps: 1, budget: { generatedTokens: 9, measureEvery: 3 } }\n`;
    await expect(start('measured', 'late-test', `${sft(2)}${measured}`)).rejects.toThrow(
      /^03-grpo: 1 of 11 test problems/,
    );
    expect(ran('measured', '02-sft')).toBe(false);
    expect((await start('none', 'late-test', sft(2))).status).toBe('done');
  });

  it('a demonstration that comes after step 64 is measured before the first', async () => {
    mkdirSync(join(folder, 'late-train'));
    writeFileSync(join(folder, 'late-train', 'test.jsonl'), rows(10, 1000));
    const short = many.map((question) => `${JSON.stringify({ question, answer: '#### 2' })}\n`).join('');
    writeFileSync(join(folder, 'late-train', 'train.jsonl'), `${short}${longRow('1'.repeat(150))}`);
    await expect(start('late', 'late-train', sft(300))).rejects.toThrow(
      /^02-sft: 1 of the 1 longest demonstrations have more than 160 tokens, prompt included \(.*: 1\d\d\); the model has 160 positions: raise model.init.maxPositions, or leave/,
    );
    const metrics = join(folder, 'runs', 'late', '02-sft', 'metrics.jsonl');
    expect(existsSync(metrics) ? readFileSync(metrics, 'utf8') : '').toBe('');
  });
});
