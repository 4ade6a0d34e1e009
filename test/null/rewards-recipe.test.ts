import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it } from 'vitest';
import { game24Problem } from '../../src/data/index.ts';
import { formatRecipe, openRecipe, parseRecipe, type Recipe } from '../../src/recipe/index.ts';
import {
  combine,
  combineGroups,
  game24Task,
  makeReward,
  type RewardSettings,
  type Sample,
} from '../../src/rewards/index.ts';
import { hashInputs, stageInputs } from '../../src/run/stage-inputs.ts';
import { rewardsOf } from '../../src/run/stages/task.ts';

const recipeWith = (rewards: string): string => `version: 1
name: rewards
task: { name: game24 }
model: { init: {} }
stages:
  - type: prepare
  - type: grpo
    steps: 1
    rewards: ${rewards}
`;

const problem = game24Problem([1, 2, 3, 4]);
const sampleOf = (text: string): Sample => ({
  problem,
  rollout: {
    problemId: problem.id,
    sampleIndex: 0,
    promptIds: [],
    completionIds: Array.from(text, (character) => character.charCodeAt(0)),
    logps: [],
    samplingLogps: [],
    stopReason: 'eos',
    text,
    policyStep: 0,
  },
});

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-rewards-'));
  file = join(folder, 'recipe.yaml');
});

async function open(rewards: string, more: Readonly<Record<string, string>> = {}): Promise<Recipe> {
  writeFileSync(file, recipeWith(rewards));
  for (const [name, text] of Object.entries(more)) writeFileSync(join(folder, name), text);
  return await openRecipe(file);
}

function rewardsIn(recipe: Recipe) {
  const stage = recipe.stages[1]!;
  return 'rewards' in stage ? stage.rewards : [];
}

const MINE = `import type { Sample } from 'reckon/rewards';
import { size } from './size.ts';
export function brevity({ rollout }: Sample): number {
  return 1 / (1 + size(rollout.text));
}
`;
const SIZE = 'export const size = (text: string): number => text.length;\n';

describe("a recipe's reward from a file", () => {
  it('is one exported function of a TypeScript file beside the recipe', async () => {
    const recipe = await open('[{ file: ./my-reward.ts, weight: 2 }, { name: correct, weight: 1 }]', {
      'my-reward.ts': MINE,
      'size.ts': SIZE,
    });
    const [mine] = rewardsIn(recipe);
    expect(mine).toMatchObject({
      name: 'my-reward',
      weight: 2,
      sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
    });
    expect(await combine(rewardsOf(recipe, rewardsIn(recipe)), sampleOf('#1*2*3*4'))).toEqual({
      reward: 2 / 9 + 1,
      parts: { 'my-reward': 1 / 9, correct: 1 },
    });
    expect(parseRecipe(formatRecipe(recipe), 'resolved.yaml')).toEqual(recipe);
  });

  it('may be one of several, async, and see whole groups', async () => {
    const text = `
export const other = (): number => 7;
export async function relative(samples: readonly { rollout: { text: string } }[]): Promise<number[]> {
  return samples.map((one) => one.rollout.text.length / samples.length);
}
`;
    const recipe = await open(
      '[{ file: mine.ts, export: relative, perGroup: true, name: relative, weight: 1 }]',
      {
        'mine.ts': text,
      },
    );
    const found = await combine(rewardsOf(recipe, rewardsIn(recipe)), sampleOf('abc'));
    expect(found).toEqual({ reward: 3, parts: { relative: 3 } });
    await expect(open('[{ file: mine.ts, weight: 1 }]')).rejects.toThrow(
      'expected one exported function, found other, relative; export one function, or name one with `export`',
    );
  });

  it('counts in the hash of the stage by its content and what it imports, not by its place', async () => {
    const rewards = '[{ file: ./my-reward.ts, weight: 1 }]';
    const hash = (recipe: Recipe): string => hashInputs(stageInputs(recipe, 1));
    const first = hash(await open(rewards, { 'my-reward.ts': MINE, 'size.ts': SIZE }));
    expect(hash(await open(rewards))).toBe(first);
    expect(hash(await open(rewards, { 'size.ts': `${SIZE}// changed\n` }))).not.toBe(first);
    expect(hash(await open(rewards, { 'size.ts': SIZE, 'my-reward.ts': `${MINE}// changed\n` }))).not.toBe(
      first,
    );
    folder = join(folder, 'elsewhere');
    file = join(folder, 'recipe.yaml');
    mkdirSync(folder);
    expect(hash(await open(rewards, { 'my-reward.ts': MINE, 'size.ts': SIZE }))).toBe(first);
  });

  it('is told about before anything runs: missing, broken, without a function', async () => {
    await expect(open('[{ file: ./nowhere.ts, weight: 1 }]')).rejects.toThrow(
      /recipe\.yaml:\d+: stages\[1\]\.rewards\[0\]\.file names \.\/nowhere\.ts, and there is no such file in/,
    );
    const broken = { 'mine.ts': 'export function f( {\n' };
    await expect(open('[{ file: ./mine.ts, weight: 1 }]', broken)).rejects.toThrow('not valid TypeScript');
    const empty = { 'empty.ts': 'export const five = 5;\n' };
    await expect(open('[{ file: ./empty.ts, weight: 1 }]', empty)).rejects.toThrow('found no function');
  });
});

describe("a recipe's reward by name", () => {
  const parse = (rewards: string) => parseRecipe(recipeWith(rewards), 'recipe.yaml');

  it('takes its own settings and no others', () => {
    const recipe = parse(
      '[{ name: repetition, weight: 1, ngram: 2, missing: 0, onError: missing, timeoutMs: 50 }]',
    );
    expect(rewardsIn(recipe)[0]).toEqual({
      name: 'repetition',
      weight: 1,
      ngram: 2,
      missing: 0,
      onError: 'missing',
      timeoutMs: 50,
    });
    expect(() => parse('[{ name: repetition, weight: 1, buffer: 2 }]')).toThrow(
      'stages[1].rewards[0].buffer is no setting of repetition, which takes unit, ngram, maxPenalty',
    );
    expect(() => parse('[{ name: correct, weight: 1, perGroup: true }]')).toThrow('is no setting of correct');
    expect(() => parse('[{ name: repetitoin, weight: 1 }]')).toThrow('did you mean repetition?');
    expect(() => parse('[{ weight: 1 }]')).toThrow('stages[1].rewards[0].name is missing');
  });

  it('keeps recipes as they were', () => {
    expect(rewardsIn(parse('[{ name: correct, weight: 1 }]'))).toEqual([{ name: 'correct', weight: 1 }]);
  });

  it.each([
    ['correct', {}, '#1*2*3*4', 1],
    ['arithmetic-steps', {}, '1*2=2\n2*3=7', 0.5],
    ['boxed-format', {}, '\\boxed{24}', 1],
    ['seed3-outcome', { wrongOutcome: 0.35 }, 'expression: 1+2+3+4', 0.35],
    ['seed3-process', {}, 'left: 1 2 3 4', 1],
    ['seed3-length', {}, 'left: 1 2 3 4', 1],
    ['logistic-length', { unit: 'words', threshold: 1 }, 'one', 1],
    ['soft-overlong', { buffer: 10 }, 'x'.repeat(95), -0.5],
    ['cosine-length', {}, '#1*2*3*4', 0.5 + 0.25 * (1 + Math.cos(0.08 * Math.PI))],
    ['group-length', {}, '#1*2*3*4', 0],
    ['repetition', { ngram: 1 }, 'abab', -0.5],
    ['step-coverage', {}, '1*2=2', null],
    ['reasoning-quality', {}, '1*2=2', null],
    ['r1-zero-format', {}, 'x</think> <answer>1</answer>', 1],
  ])('%s', async (name, settings, text, expected) => {
    const reward = makeReward({ name, weight: 1, ...(settings as RewardSettings) }, game24Task(24), 100);
    const { parts } = await combine([reward], sampleOf(text));
    if (expected === null) expect(parts[name]).toBeNull();
    else expect(parts[name]).toBeCloseTo(expected, 12);
  });

  it('of a worked solution is what the solution holds', async () => {
    const { rollout } = sampleOf('Step 1: 3 * 4 = 12\nThen, 12 + 5 = 17');
    const worked = { ...problem, meta: { solution: '3 * 4 = 12\n12 + 6 = 18\n#### 18' } };
    const reward = makeReward({ name: 'step-coverage', weight: 1 }, game24Task(24), 100);
    // Of 3 * 4, 4 = 12, 12 + 6 and 6 = 18 the first two.
    expect((await combine([reward], { problem: worked, rollout })).reward).toBe(0.5);
  });
});

describe("a user's function that misbehaves", () => {
  const text = `
export async function moody({ rollout }: { rollout: { text: string; sampleIndex: number } }): Promise<number> {
  if (rollout.text === 'throws') throw new TypeError('no such field');
  if (rollout.text === 'hangs') for (;;) rollout.sampleIndex;
  if (rollout.text === 'waits') await new Promise(() => setTimeout(() => undefined, 1e6));
  if (rollout.text === 'leaves') process.exit(1);
  if (rollout.text === 'says nothing') return undefined as unknown as number;
  return rollout.sampleIndex;
}
`;
  const samples = (...texts: readonly string[]): Sample[] =>
    texts.map((one, i) => {
      const { rollout } = sampleOf(one);
      return { problem, rollout: { ...rollout, sampleIndex: i } };
    });

  it('costs its time and not the run; the others get their scores', async () => {
    const recipe = await open('[{ file: moody.ts, weight: 1, onError: missing, timeoutMs: 300 }]', {
      'moody.ts': text,
    });
    const rewards = rewardsOf(recipe, rewardsIn(recipe));
    const asked = samples('fine', 'hangs', 'throws', 'fine', 'leaves', 'waits', 'says nothing', 'fine');
    const [found] = await combineGroups(rewards, [asked]);
    expect(found!.map((one) => one.reward)).toEqual([0, null, null, 3, null, null, null, 7]);
  });

  it.each([
    ['throws', "reward 'moody' failed on sample 1 of game24/1-2-3-4: no such field"],
    ['hangs', "reward 'moody' failed on sample 1 of game24/1-2-3-4: it took more than 300 ms"],
    ['leaves', "reward 'moody' failed on sample 1 of game24/1-2-3-4: the thread that it ran in has ended"],
    [
      'says nothing',
      "Expected reward 'moody' to be finite or null, found NaN for sample 1 of game24/1-2-3-4",
    ],
  ])('that %s is named with its sample', async (what, message) => {
    const recipe = await open('[{ file: moody.ts, weight: 1, timeoutMs: 300 }]', { 'moody.ts': text });
    const rewards = rewardsOf(recipe, rewardsIn(recipe));
    await expect(combineGroups(rewards, [samples('fine', what, 'fine')])).rejects.toThrow(message);
  });
});

describe('reckon rewards test', () => {
  it('shows what every reward gives to sample completions, and to given ones', async () => {
    await open('[{ name: correct, weight: 1 }, { file: mine.ts, weight: 0.5, name: chars }]', {
      'mine.ts':
        'export const chars = ({ rollout }: { rollout: { text: string } }) => rollout.text.length;\n',
    });
    const given = join(folder, 'given.jsonl');
    writeFileSync(given, '{"completion": "#1*2*3*4", "problemId": "game24/1-2-3-4"}\n{"completion": "no"}\n');
    const run = (...words: readonly string[]) => {
      const main = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
      const made = spawnSync(process.execPath, [main, 'rewards', 'test', file, ...words], {
        encoding: 'utf8',
      });
      return { code: made.status, out: made.stdout, error: made.stderr };
    };
    const { code, out, error } = run('--completions', given);
    expect([code, error]).toEqual([0, '']);
    expect(out).toMatch(/problem +sample +verdict +correct x 1 +chars x 0\.5 +sum/);
    expect(out).toMatch(/game24\/1-2-3-4 +line 1 +correct +1 +8 +5\n/);
    expect(out).toMatch(/line 2 +incorrect +0 +2 +1\n/);
    const samples = JSON.parse(run('--problems', '1', '--json').out).samples as { reward: number }[];
    expect(samples).toHaveLength(5);
    expect(samples.at(-1)).toMatchObject({ sample: 'nothing', verdict: 'incorrect', reward: 0 });
    expect(run('--stage', 'sft').error).toContain('expected the stage sft of the recipe to have rewards');
  });
});
