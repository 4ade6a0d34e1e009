/** Owns the tests of tasks over data sets: templates, demonstrations, verdicts, filters, mixtures, and their recipes. */

import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Problem } from '../../src/data/problem.ts';
import { encodeCompletion, encodePrompt, promptTemplate, TEMPLATES } from '../../src/prompts/index.ts';
import { parseRecipe, parseTask, taskNames } from '../../src/recipe/index.ts';
import { boxedTagFormat } from '../../src/rewards/functions/format.ts';
import { closeGraders, grade } from '../../src/rewards/grade/grade.ts';
import type { Task } from '../../src/rewards/task.ts';
import { openTask, type TaskTools } from '../../src/rewards/tasks/open-task.ts';
import { openTaskOf, taskOf } from '../../src/run/stages/task.ts';
import { ChatTemplate, characterTokenizer, Tokenizer } from '../../src/text/index.ts';
import { Rng } from '../../src/util/rng.ts';

const folder = mkdtempSync(join(tmpdir(), 'reckon-tasks-'));
const rng = new Rng({ seed: 1, purpose: 'test' });
const tools: TaskTools = { grade, tokenizer: characterTokenizer };
const open = (options: unknown, more: Partial<TaskTools> = {}): Promise<Task> =>
  openTask(parseTask(options), { ...tools, ...more });

mkdirSync(join(folder, 'gsm8k'));
for (const [split, count] of [
  ['train', 1300],
  ['test', 40],
] as const) {
  const rows = Array.from({ length: count }, (_, i) => ({
    question: `A ${split} box holds ${i} eggs. How many are in 2 boxes?`,
    answer: `Two boxes hold 2*${i} = <<2*${i}=${2 * i}>>${2 * i} eggs.\n#### ${2 * i}`,
  }));
  writeFileSync(
    join(folder, 'gsm8k', `${split}.jsonl`),
    rows.map((row) => `${JSON.stringify(row)}\n`).join(''),
  );
}
const gsm8k = { name: 'gsm8k', path: join(folder, 'gsm8k') };

afterAll(closeGraders);

describe('templates', () => {
  it('r1-zero poses the published prompt, opened for thought', () => {
    const { prompt, stop } = promptTemplate('r1-zero');
    expect(prompt('1+1?')).toMatch(
      /^A conversation between User and Assistant\. .*<answer> answer here <\/answer>\.\nUser: 1\+1\?\nAssistant: <think>$/s,
    );
    expect(stop).toEqual(['</answer>']);
  });

  it.each(TEMPLATES)('%s writes completions that keep its own format', (name) => {
    const template = promptTemplate(name, (messages) => JSON.stringify(messages));
    for (const solution of [
      { reasoning: 'One and one.', answer: '2' },
      { reasoning: '', answer: '\\frac{1}{2}' },
    ]) {
      expect(template.keepsFormat(template.completion(solution))).toBe(true);
    }
    expect(template.keepsFormat('')).toBe(false);
    expect(template.prompt('1+1?')).toContain('1+1?');
  });

  it.each([
    [' a </think> <answer> 2 </answer>', true],
    [' a </think>\n<answer>2</answer>', true],
    [' a </think> so <answer> 2 </answer>', false],
    [' a </think> <answer>  </answer>', false],
    [' a </think> <answer> 2 </answer> <answer> 3 </answer>', false],
    [' a <answer> 2 </answer> </think>', false],
    [' a </think> <answer> 2', false],
  ])('r1-zero: the format of %j is kept: %s', (completion, expected) => {
    expect(promptTemplate('r1-zero').keepsFormat(completion)).toBe(expected);
  });

  it.each(['think-boxed', 'chat-think-boxed'] as const)(
    '%s asks for what boxed-tag-format rewards',
    (name) => {
      const { prompt, completion, keepsFormat } = promptTemplate(name, (messages) =>
        JSON.stringify(messages),
      );
      expect(prompt('1+1?')).toContain('<think>reasoning</think><answer>');
      expect(boxedTagFormat(completion({ reasoning: 'One and one.', answer: '2' }))).toBe(1);
      expect(keepsFormat('<think>a</think>\n<answer>so \\boxed{2}</answer>')).toBe(true);
      expect(keepsFormat('<think>a \\boxed{2}</think><answer>2</answer>')).toBe(false);
      expect(keepsFormat('\\boxed{2}')).toBe(false);
    },
  );

  it('chat needs a renderer, and its special tokens survive encoding', () => {
    expect(() => promptTemplate('chat')).toThrow('needs a model whose tokenizer has a chat template');
    const plain = characterTokenizer([...' abcdefghijklmnopqrstuvwxyz.,?+1P{}\\\n<>|_']);
    const source =
      "{{ bos_token }}{% for m in messages %}{{ m['role'] }}\n{{ m['content'] }}{{ eos_token }}{% endfor %}";
    const tokenizer = new Tokenizer({
      tokenizer: plain.files.tokenizer,
      config: { ...plain.files.config, chat_template: source },
    });
    const chat = new ChatTemplate(tokenizer);
    const text = promptTemplate('chat', (messages) => chat.render(messages)).prompt('1+1?');
    expect(text).toContain('\\boxed{}.<eos>user\n1+1?<eos>');
    const ids = encodePrompt(tokenizer, text);
    expect(ids.filter((id) => id === tokenizer.bosId)).toHaveLength(1);
    expect(ids.filter((id) => id === tokenizer.eosId)).toHaveLength(2);
    expect(encodeCompletion(tokenizer, 'a')).toHaveLength(2);
  });
});

describe('gsm8k as a task', () => {
  it('is demonstrated, judged and rewarded by what its solutions say', async () => {
    const task = await open(gsm8k);
    const problem = task.splits.train[5]!;
    const { prompt, completion } = task.demonstrate(problem, rng);
    expect(prompt).toBe(task.prompt(problem, rng));
    expect(completion).toMatch(/^ Two boxes hold 2\*\d+ = \d+ eggs\. <\/think> <answer> \d+ <\/answer>$/);
    expect(await task.judge(problem, completion)).toMatchObject({
      judgement: { verdict: 'correct' },
      formatOk: true,
    });
    const wrong = completion.replace(/<answer>.*/, '<answer> 7 </answer>');
    expect(await task.judge(problem, wrong)).toMatchObject({
      judgement: { verdict: 'incorrect' },
      formatOk: true,
    });
    expect(await scoreOf(task, 'correct', problem, completion)).toBe(1);
    expect(await scoreOf(task, 'correct', problem, wrong)).toBe(0);
    expect(await scoreOf(task, 'format', problem, 'no tags')).toBe(0);
    const kept = await open({ ...gsm8k, calculator: true, prompt: 'boxed' });
    expect(kept.demonstrate(problem, rng).completion).toMatch(
      /<<2\*\d+=\d+>>\d+ eggs\.\nThe answer is \\boxed\{\d+\}\.$/,
    );
  });

  it('judges what needs symbols too, and remembers a verdict', async () => {
    let calls = 0;
    const counting: TaskTools['grade'] = (...words) => {
      calls++;
      return grade(...words);
    };
    const task = await open({ ...gsm8k, prompt: 'boxed' }, { grade: counting });
    const problem: Problem = { ...task.splits.train[0]!, reference: 'x^2+6x+9' };
    const completion = 'So it is \\boxed{(x+3)^2}.';
    expect(await task.judge(problem, completion)).toMatchObject({ judgement: { verdict: 'correct' } });
    expect(await scoreOf(task, 'correct', problem, completion)).toBe(1);
    expect(calls).toBe(1);
  });

  it('says that seed2 trains on official test questions', async () => {
    const task = await open({ ...gsm8k, split: 'seed2' });
    expect(task.notes).toEqual([
      expect.stringMatching(/of 40 questions of the official test part are trained on/),
    ]);
  });

  it('trains on a subset, or on problems of a pass rate', async () => {
    const [small, large] = [await open({ ...gsm8k, subset: 8 }), await open({ ...gsm8k, subset: 128 })];
    expect(large.splits.train.slice(0, 8)).toEqual(small.splits.train);
    expect(small.splits.test).toHaveLength(40);
    const file = join(folder, 'rates.jsonl');
    const rates = small.splits.train.map(({ id }, i) => ({ id, correct: i, samples: 7 }));
    writeFileSync(file, rates.map((rate) => `${JSON.stringify(rate)}\n`).join(''));
    const task = await open({ ...gsm8k, passRates: { file, min: 0.2, max: 0.8 } });
    expect(task.splits.train.map(({ id }) => id).sort()).toEqual(
      rates
        .slice(2, 6)
        .map(({ id }) => id)
        .sort(),
    );
    expect(task.notes?.[0]).toContain('4 of 300 problems have a pass rate from 0.2 to 0.8');
    expect(task.notes?.[0]).toContain('left out: 2 solved less often, 2 more often, 292 without a rate');
    await expect(open({ ...gsm8k, passRates: { file, min: 0.99, max: 0.995 } })).rejects.toThrow(
      'no problem is left to train on',
    );
  });

  it('leaves out what is longer than allowed, counted and never cut', async () => {
    const whole = await open({ ...gsm8k, prompt: 'question-only' });
    const lengths = whole.splits.train.map((problem) => whole.prompt(problem, rng).length + 1);
    const limit = Math.max(...lengths) - 1;
    const long = lengths.filter((length) => length > limit).length;
    const task = await open({ ...gsm8k, prompt: 'question-only', maxPromptTokens: limit });
    expect(long).toBeGreaterThan(0);
    expect(task.splits.train).toHaveLength(300 - long);
    expect(task.notes?.[0]).toContain(
      `${long} of 300 train problems are left out, because their prompt has more than`,
    );
    const solutions = await open({ ...gsm8k, maxSolutionTokens: 67 });
    expect(solutions.splits.train.length).toBeLessThan(300);
    for (const problem of solutions.splits.train) {
      expect(solutions.demonstrate(problem, rng).completion.length + 1).toBeLessThanOrEqual(67);
    }
    expect(solutions.alphabet).toEqual((await open(gsm8k)).alphabet);
  });
});

describe('other tasks', () => {
  it.each([
    [
      { name: 'arithmetic', count: 300, test: 50, validation: 20, operators: ['+', '*'], terms: [2, 3] },
      [230, 20, 50],
    ],
    [{ name: 'countdown', count: 100, test: 20, validation: 10 }, [70, 10, 20]],
    [{ name: 'countdown', count: 100, test: 20, validation: 10, prompt: 'plain' }, [70, 10, 20]],
    [{ name: 'game24', split: 'tot', format: 'v3', subset: 60 }, [60, 100, 100]],
  ])('%j: every demonstration is correct and spelt in its alphabet', async (options, sizes) => {
    const task = await open(options);
    expect(Object.fromEntries(Object.entries(task.splits).map(([part, all]) => [part, all.length]))).toEqual({
      train: sizes[0],
      validation: sizes[1],
      test: sizes[2],
    });
    const alphabet = new Set(task.alphabet);
    for (const problem of [...task.splits.train.slice(0, 20), ...task.splits.test.slice(0, 5)]) {
      const { prompt, completion } = task.demonstrate(problem, rng);
      expect(await task.judge(problem, completion)).toMatchObject({
        judgement: { verdict: 'correct' },
        formatOk: true,
      });
      expect([...prompt, ...completion].filter((character) => !alphabet.has(character))).toEqual([]);
    }
  });

  it('countdown from a file demonstrates no wrong published answer', async () => {
    const path = join(folder, 'puzzles.jsonl');
    const rows = [
      { numbers: [7, 74], target: 67, expression: '74 - 7' },
      { numbers: [2, 3], target: 6, expression: '2 + 3' },
      { numbers: [2, 4], target: 8 },
    ];
    writeFileSync(path, rows.map((row) => `${JSON.stringify(row)}\n`).join(''));
    const task = await open({ name: 'countdown', path, validation: 0, test: 0 });
    expect(task.notes).toEqual([
      `countdown: 1 published answers of ${path} do not pass the judge and are not demonstrated.`,
    ]);
    const [right, wrong] = task.splits.train;
    expect(await task.judge(right!, task.demonstrate(right!, rng).completion)).toMatchObject({
      judgement: { verdict: 'correct' },
    });
    expect(() => task.demonstrate(wrong!, rng)).toThrow('has no known answer');
    expect(await task.judge(wrong!, '<answer> 2 * 3 </answer>')).toMatchObject({
      judgement: { verdict: 'correct' },
    });
    expect(task.alphabet).toContain('*');
  });

  it('a mixture poses and judges each problem by its own task', async () => {
    const sources = [
      { task: { ...gsm8k }, weight: 1 },
      { task: { name: 'countdown', count: 100, test: 5, validation: 5 }, weight: 2 },
    ];
    const task = await open({ name: 'mixture', sources, size: 60 });
    const own = (name: string): Problem[] => task.splits.train.filter(({ id }) => id.startsWith(name));
    expect([own('gsm8k').length, own('countdown').length]).toEqual([20, 40]);
    expect(task.splits.test).toHaveLength(45);
    for (const problem of [own('gsm8k')[0]!, own('countdown')[0]!]) {
      const { completion } = task.demonstrate(problem, rng);
      expect(await task.judge(problem, completion)).toMatchObject({ judgement: { verdict: 'correct' } });
      expect(await scoreOf(task, 'correct', problem, completion)).toBe(1);
    }
    expect(Object.keys(task.rewards)).toEqual(['correct', 'format']);
    const twice = [sources[0], sources[0]];
    await expect(open({ name: 'mixture', sources: twice })).rejects.toThrow('mix each data set once');
  });
});

describe('a recipe', () => {
  const recipe = (task: string): string =>
    `version: 1\nname: t\ntask: ${task}\nmodel: { init: {} }\nstages: [{ type: prepare }]\n`;

  it('takes every task, and names the nearest key of the one that is meant', () => {
    for (const name of taskNames) {
      const more = {
        file: ', path: x.csv, columns: { question: q }',
        own: ', file: mine.ts',
        mixture: ', sources: [{ task: { name: math } }]',
      };
      const parsed = parseRecipe(recipe(`{ name: ${name}${more[name as 'file'] ?? ''} }`), 'r.yaml');
      expect(parsed.task).toMatchObject({ name, splitSeed: 24 });
    }
    expect(() => parseRecipe(recipe('{ name: gsm8k, promt: boxed }'), 'r.yaml')).toThrow(
      'r.yaml:3: task.promt is not a known key; did you mean prompt?',
    );
    expect(() => parseRecipe(recipe('{ name: gsm8k, prompt: boxes }'), 'r.yaml')).toThrow(
      'task.prompt must be r1-zero or question-only or boxed or think-boxed or chat or chat-think-boxed or plain, found "boxes"; did you mean boxed?',
    );
    expect(() => parseRecipe(recipe('{ name: file, path: x }'), 'r.yaml')).toThrow(
      'task.columns is missing (what the columns mean)',
    );
    expect(() =>
      parseRecipe(recipe('{ name: mixture, sources: [{ task: { name: math, levl: 1 } }] }'), 'r.yaml'),
    ).toThrow('r.yaml:3: task.sources[0].task.levl is not a known key; known here');
  });

  it('has its data read once for all stages', async () => {
    const parsed = parseRecipe(
      recipe(`{ name: gsm8k, path: "${join(folder, 'gsm8k')}", split: seed2 }`),
      'r.yaml',
    );
    expect(() => taskOf(parsed)).toThrow('call openTaskOf before taskOf');
    const said: string[] = [];
    const task = await openTaskOf(parsed, (line) => said.push(line));
    expect(said).toEqual(task.notes);
    expect(taskOf(parsed)).toBe(task);
    expect(await openTaskOf(structuredClone(parsed), (line) => said.push(line))).toBe(task);
    expect(said).toHaveLength(1);
    expect(taskOf(parseRecipe(recipe('{ name: game24 }'), 'r.yaml')).splits.train).toHaveLength(1162);
  });
});

/** A reward of the task for a completion of its own. */
function scoreOf(task: Task, name: string, problem: Problem, text: string): unknown {
  const rollout = {
    problemId: problem.id,
    sampleIndex: 0,
    promptIds: [],
    completionIds: [],
    logps: [],
    text,
    stopReason: 'eos',
  };
  return task.rewards[name]!({ problem, rollout } as unknown as Parameters<Task['rewards'][string]>[0]);
}
