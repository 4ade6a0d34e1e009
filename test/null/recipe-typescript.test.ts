import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  defineRecipe,
  formatRecipe,
  openRecipe,
  parseRecipe,
  type Recipe,
  type RewardRecipe,
} from '../../src/recipe/index.ts';
import { migrate } from '../../src/recipe/migrate.ts';
import { loadUserReward, type RewardFunction, type Sample, type Task } from '../../src/rewards/index.ts';
import { openTaskOf } from '../../src/run/stages/task.ts';
import { Rng } from '../../src/util/rng.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-ts-recipe-'));
});

const write = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

const STAGES = `[{ type: 'prepare' }, { type: 'sft', steps: 10 }]`;
const module = (extra = '', stages = STAGES): string => `import { defineRecipe } from 'reckon/recipe';
const layers: number = 2;
export default defineRecipe({
  version: 1,
  name: 'typed',
  task: { name: 'game24' },
  model: { init: { layers } },
  ${extra}
  stages: ${stages},
});
`;

const open = (text: string, set: readonly string[] = []): Promise<Recipe> =>
  openRecipe(write('recipe.ts', text), { set });

describe('a TypeScript recipe', () => {
  it('is what the same YAML is', async () => {
    const yaml = `version: 1
name: typed
task: {name: game24}
model: {init: {layers: 2}}
stages:
  - type: prepare
  - {type: sft, steps: 10}
`;
    expect(await open(module())).toEqual(parseRecipe(yaml, 'r.yaml'));
    expect(await openRecipe(write('recipe.yaml', yaml))).toEqual(parseRecipe(yaml, 'r.yaml'));
  });

  it('may import its neighbours, be a function, and is overridden by flags without being changed', async () => {
    write('numbers.ts', 'export const steps: number = 4;\n');
    const text = `import { steps } from './numbers.ts';
export default async () => ({ version: 1, name: 'f', task: { name: 'game24' }, model: { init: {} },
  stages: [{ type: 'prepare' }, { type: 'sft', steps }] });
`;
    expect((await open(text)).stages[1]).toMatchObject({ steps: 4 });
    expect((await open(text, ['sft.steps=7'])).stages[1]).toMatchObject({ steps: 7 });
    expect((await open(text)).stages[1]).toMatchObject({ steps: 4 });
  });

  it.each([
    [
      'an unknown key',
      module('smapling: { topP: 1 },'),
      'recipe.ts:8: smapling is not a known key; did you mean sampling?',
    ],
    [
      'a wrong type',
      module("sampling: { topP: 'all' },"),
      'recipe.ts:8: sampling.topP must be a number, found "all"',
    ],
    ['a syntax error', module('sampling: {,'), 'recipe.ts:8: not valid TypeScript: '],
    [
      'an error while it runs',
      `const none: any = null;\n\nexport default none.x;\n`,
      'Cannot read properties',
    ],
    [
      'a missing import',
      `import './nowhere.ts';\nexport default {};\n`,
      'nowhere.ts, and there is no such file',
    ],
    ['a missing package', `import 'left-pad-x';\nexport default {};\n`, "Cannot find package 'left-pad-x'"],
    [
      'no default export',
      'export const recipe = {};\n',
      'expected `export default defineRecipe({ ... })`, found no default export',
    ],
    ['a list', 'export default [];\n', 'found a default export that is object'],
  ])('with %s is one sentence', async (name, text, message) => {
    const file = write(`${name.replaceAll(' ', '-')}-recipe.ts`, text);
    const opened = openRecipe(file);
    await expect(opened).rejects.toMatchObject({ category: 'recipe' });
    await expect(opened).rejects.toThrow(
      message.replace('recipe.ts', `${name.replaceAll(' ', '-')}-recipe.ts`),
    );
    await opened.catch((error: Error) => expect(error.message).not.toContain('\n'));
  });

  it('has a type that refuses what the schema refuses', () => {
    const base = { version: 1, name: 't', task: { name: 'game24' }, model: { init: {} } } as const;
    expect(defineRecipe({ ...base, stages: [{ type: 'sft', steps: 1 }] }).stages).toHaveLength(1);
    const problems = [{ question: '1' }];
    const task = { name: 'mine', problems, judge: (text: string) => text === '1', splits: { test: 1 } };
    expect(defineRecipe({ ...base, task, stages: [] }).task.name).toBe('mine');
    // The functions' arguments have their types from where they stand.
    const typed = defineRecipe({
      ...base,
      stages: [
        {
          type: 'grpo',
          steps: 1,
          rewards: [
            { name: 'x', weight: 1, score: ({ rollout }) => rollout.text.length },
            {
              name: 'y',
              weight: 1,
              perGroup: true,
              score: (samples) => samples.map(({ rollout }) => rollout.logps.length),
            },
          ],
        },
      ],
    });
    expect(typed.stages).toHaveLength(1);
    // @ts-expect-error: a verdict that is no verdict
    defineRecipe({ ...base, task: { ...task, judge: () => 'yes' }, stages: [] });
    const rewards = [{ name: 'x', weight: 1, score: () => 'yes' }];
    // @ts-expect-error: a reward that gives no number
    defineRecipe({ ...base, stages: [{ type: 'grpo', steps: 1, rewards }] });
    // @ts-expect-error: no such key of the stage
    defineRecipe({ ...base, stages: [{ type: 'sft', stpes: 1 }] });
    // @ts-expect-error: no such type of stage
    defineRecipe({ ...base, stages: [{ type: 'stf', steps: 1 }] });
    // @ts-expect-error: text in the place of a number
    defineRecipe({ ...base, stages: [{ type: 'grpo', steps: 1, groupSize: '8' }] });
  });
});

const rewardsOf = (recipe: Recipe): readonly RewardRecipe[] =>
  recipe.stages.flatMap((stage) => ('rewards' in stage ? stage.rewards : []));

describe('rewards that a TypeScript recipe defines', () => {
  const text = (reward: string): string => `import { defineRecipe } from 'reckon/recipe';
import type { RewardFunction } from 'reckon/rewards';
export const brevity: RewardFunction = ({ rollout }) => -rollout.text.length / 1000;
const half = 0.5;
export default defineRecipe({
  version: 1, name: 'own', task: { name: 'game24' }, model: { init: {} },
  stages: [{ type: 'prepare' }, { type: 'grpo', steps: 1, rewards: [{ name: 'correct', weight: 1 }, ${reward}] }],
});
`;

  it('become the export of their file, so that a resumed run finds them', async () => {
    const recipe = await open(text('{ score: brevity, weight: 0.2 }'));
    expect(recipe.stages[1]).toMatchObject({
      rewards: [{ name: 'correct' }, { name: 'brevity', export: 'brevity', weight: 0.2 }],
    });
  });

  it('may stand in the recipe, and are found again by their place', async () => {
    const recipe = await open(
      text('{ name: "x", score: ({ rollout }) => rollout.text.length + half, weight: 1 }'),
    );
    const [, { file, export: place }] = rewardsOf(recipe) as [unknown, { file: string; export: string }];
    expect(place).toBe('default.stages.1.rewards.1.score');
    const score = (await loadUserReward({ file, export: place })) as RewardFunction;
    expect(score({ rollout: { text: 'four' } } as Sample)).toBe(4.5);
  });

  it('need a name where they are not exported', async () => {
    await expect(open(text('{ score: () => 0, weight: 1 }'))).rejects.toThrow(
      'recipe.ts: stages[1].rewards[1].score is a function that stands in the recipe; give the reward a name',
    );
  });

  it('are changed by their own text and by what stands above, not by other settings', async () => {
    const own = '{ name: "x", score: ({ rollout }) => rollout.text.length + half, weight: 1 }';
    const hashIn = async (source: string): Promise<string | undefined> => {
      const place = mkdtempSync(join(folder, 'version-'));
      writeFileSync(join(place, 'recipe.ts'), source);
      return rewardsOf(await openRecipe(join(place, 'recipe.ts')))[1]!.sha256;
    };
    const before = await hashIn(text(own));
    expect(before).toMatch(/^[0-9a-f]{64}$/);
    expect(
      await hashIn(text(own).replace('steps: 1', 'steps: 2').replace("name: 'own'", "name: 'other'")),
    ).toBe(before);
    expect(await hashIn(text(own).replace('half = 0.5', 'half = 0.25'))).not.toBe(before);
    expect(await hashIn(text(own).replace('length + half', 'length - half'))).not.toBe(before);
    const oneLine = text(own).replaceAll('\n ', ' ').replace('\n});', '});');
    expect(await hashIn(oneLine.replace('steps: 1', 'steps: 2'))).not.toBe(await hashIn(oneLine));
  });
});

describe('a task of their own', () => {
  const definition = `{
    name: 'doubles',
    problems: Array.from({ length: 20 }, (_, i) => ({ question: String(i), reference: String(2 * i) })),
    judge: (completion, { reference }) => (completion === '?' ? null : completion === reference),
    splits: { validation: 2, test: 4 },
    subset: 6,
  }`;
  const recipe = (task: string): string => `import { defineRecipe } from 'reckon/recipe';
export default defineRecipe({
  version: 1,
  name: 'own',
  task: ${task},
  model: { init: {} },
  stages: [{ type: 'prepare' }],
});
`;

  async function expectDoubles(task: Task): Promise<void> {
    const { train, validation, test } = task.splits;
    expect([task.name, train.length, validation.length, test.length]).toEqual(['doubles', 6, 2, 4]);
    const problem = test[0]!;
    expect(task.prompt(problem, new Rng({ seed: 1, purpose: 'p' }))).toBe(`${problem.question}\n`);
    expect(task.demonstrate(problem, new Rng({ seed: 1, purpose: 'd' })).completion).toBe(problem.reference);
    const verdict = async (text: string): Promise<string> =>
      (await task.judge(problem, text)).judgement.verdict;
    expect(await verdict(problem.reference)).toBe('correct');
    expect(await verdict('x')).toBe('incorrect');
    expect(await verdict('?')).toBe('unverifiable');
    expect([...task.alphabet].join('')).toBe('\n0123456789');
  }

  it('may stand in a TypeScript recipe', async () => {
    const opened = await open(recipe(definition));
    expect(opened.task).toMatchObject({ name: 'own', export: 'default.task', subset: 6 });
    await expectDoubles(await openTaskOf(opened));
    // What a run keeps is text, and finds the task again.
    await expectDoubles(await openTaskOf(parseRecipe(formatRecipe(opened), 'recipe.yaml')));
    expect((await open(recipe(definition), ['task.subset=3'])).task).toMatchObject({ subset: 3 });
  });

  it('or in a file that any recipe names, or in a mixture', async () => {
    write(
      'doubles.ts',
      `import { defineTask } from 'reckon/rewards';\nexport const doubles = defineTask(${definition.replace(/ {4}(splits|subset).*\n/g, '')});\n`,
    );
    const yaml = (file: string): string =>
      `version: 1\nname: own\ntask: { name: own, file: ${file}, export: doubles, subset: 6, splits: { validation: 2, test: 4 } }\nmodel: { init: {} }\nstages: [{ type: prepare }]\n`;
    const opened = await openRecipe(write('recipe.yaml', yaml('doubles.ts')));
    await expectDoubles(await openTaskOf(opened));
    await expect(openRecipe(write('recipe.yaml', yaml('triples.ts')))).rejects.toThrow(
      `recipe.yaml:3: task.file names triples.ts, and there is no such file in ${folder}; check the path`,
    );
    await expect(
      openRecipe(write('recipe.yaml', yaml('doubles.ts').replace('export: doubles', 'export: triples'))),
    ).rejects.toThrow(
      'expected its export triples to be a task (`defineTask({ name, problems, ... })`), found nothing',
    );
    const mixed = yaml('doubles.ts').replace(
      /task: .*/,
      'task: { name: mixture, sources: [{ task: { name: own, file: doubles.ts, export: doubles }, count: 16 }] }',
    );
    const task = await openTaskOf(await openRecipe(write('mixed.yaml', mixed)));
    expect(task.splits.train.length).toBe(16);
  });
});

describe('files that a recipe names', () => {
  const yaml = (file: string): string => `version: 1
name: files
task: {name: game24}
model: {init: {}}
stages:
  - type: prepare
  - type: sft
    steps: 1
    dataFile: ${file}
`;

  it('are looked for, with the nearest name', async () => {
    write('train.jsonl', '{"text": "2"}\n');
    const open = (name: string): Promise<Recipe> =>
      openRecipe(write('recipe.yaml', yaml(join(folder, name))));
    await expect(open('trian.jsonl')).rejects.toThrow(
      `recipe.yaml:9: stages[1].dataFile names ${join(folder, 'trian.jsonl')}, and there is no such file; did you mean ${join(folder, 'train.jsonl')}?`,
    );
    await expect(open('none/train.jsonl')).rejects.toThrow(`there is no folder ${join(folder, 'none')}`);
    await expect(open('.')).rejects.toThrow('which is a folder; name a file in it');
    expect((await open('train.jsonl')).stages[1]).toMatchObject({ type: 'sft' });
  });
});

describe('the version of a recipe', () => {
  const recipe = (version: string): string => `version: ${version}
name: v
task: {name: game24}
model: {init: {}}
stages: [{type: prepare}, {type: sft, steps: 1${version === '0' ? ', tracesPerProblem: 4' : ''}}]
`;

  it('that is newer is refused, and one that is no number is left to the schema', () => {
    expect(() => parseRecipe(recipe('2'), 'r.yaml')).toThrow(
      'r.yaml:1: version 2 of the recipe format is newer than this reckon, which reads up to 1; update reckon',
    );
    expect(() => parseRecipe(recipe('one'), 'r.yaml')).toThrow('r.yaml:1: version must be 1, found "one"');
  });

  it('that is older is migrated, or refused with the key that means nothing any more', () => {
    expect(() => parseRecipe(recipe('0'), 'r.yaml')).toThrow(
      'r.yaml:1: sft.tracesPerProblem of recipe version 0 is no longer there: demonstrations are drawn anew',
    );
    expect(parseRecipe(recipe('0').replace(', tracesPerProblem: 4', ''), 'r.yaml').version).toBe(1);
  });

  it('goes through every step, and renames keys of the recipe and of stages of a type', () => {
    const steps = {
      1: { renamed: { 'sampling.temp': 'temperature', 'grpo.klBeta': 'kl.beta' }, removed: {} },
      2: { renamed: { 'grpo.kl.beta': 'weight' }, removed: { 'sft.old': 'leave it out' } },
    };
    const raw = {
      version: 1,
      sampling: { temp: 0.5 },
      stages: [
        { type: 'grpo', klBeta: 0.1 },
        { type: 'sft', klBeta: 2 },
      ],
    };
    migrate(raw, 'r.yaml', steps, 3);
    expect(raw).toEqual({
      version: 3,
      sampling: { temperature: 0.5 },
      stages: [
        { type: 'grpo', kl: { weight: 0.1 } },
        { type: 'sft', klBeta: 2 },
      ],
    });
    expect(() => migrate({ version: 2, stages: [{ type: 'sft', old: 1 }] }, 'r.yaml', steps, 3)).toThrow(
      'sft.old of recipe version 2 is no longer there: leave it out, and write version: 3',
    );
  });
});
