/** Owns how a stage names its rewards. Computes none. */

import * as z from 'zod';
import { builtInRewards, type RewardSettings } from '../../rewards/built-in.ts';
import type { RewardChoice } from '../../rewards/make-reward.ts';
import type { RecipeProblem } from '../issues.ts';
import { type KeyPath, suggest } from '../nearest.ts';
import { count, problem } from './kind.ts';

/** A reward by name (of the task or built in) or from a file, and its factor in the sum. */
export interface RewardRecipe extends RewardChoice {
  /** Of the file and what it imports from beside it; written when the recipe is opened. */
  readonly sha256?: string | undefined;
}

/** Rewards that tasks bring. */
const OF_TASKS: readonly string[] = ['correct', 'format', 'process'];

const range = (): z.ZodType<readonly [number, number] | undefined> =>
  z.tuple([z.number(), z.number()]).optional();

const schema = z.strictObject({
  name: z
    .string()
    .min(1)
    .optional()
    .describe('which rule scores the completion; names the reward of a file in tables'),
  file: z
    .string()
    .min(1)
    .optional()
    .describe("a TypeScript file with one exported function, from the recipe's folder"),
  export: z.string().min(1).optional().describe('which function, where the file exports several'),
  perGroup: z
    .boolean()
    .optional()
    .describe('the function of the file takes all samples of a problem and gives as many scores'),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, '64 hexadecimal digits')
    .optional()
    .describe('of the file; written by reckon'),
  weight: z.number().describe('its factor in the sum'),
  missing: z.number().optional().describe('what an unknown score counts as; else it makes the sum unknown'),
  onError: z
    .enum(['fail', 'missing'])
    .optional()
    .describe('what an exception or a late score does: `fail` (default) ends the run, `missing` is unknown'),
  timeoutMs: count().optional().describe('milliseconds that a score may take'),
  opened: z.boolean().optional().describe('the prompt has opened <think> already'),
  unit: z
    .enum(['tokens', 'lines', 'words'])
    .optional()
    .describe('what lengths and repetitions are counted in; default tokens'),
  threshold: z.number().optional().describe('lengths up to this get 1'),
  middle: z.number().optional().describe('how far above the threshold the reward is one half'),
  steepness: z.number().positive().optional().describe('of the S'),
  maxLength: count().optional().describe('the limit; default sampling.maxCompletionTokens'),
  buffer: count().optional().describe('the last so many are punished in part; default a fifth of maxLength'),
  ngram: count().optional().describe('length of the n-grams; default 3'),
  maxPenalty: z.number().max(0).optional().describe('of nothing but repetition; default -1'),
  correct: range().describe('[at length 0, at maxLength] of a correct completion; default [1, 0.5]'),
  wrong: range().describe('[at length 0, at maxLength] of a wrong completion; default [-1, -0.5]'),
  wrongOutcome: z.number().optional().describe('of a wrong expression in the last line; default 0'),
} satisfies Record<keyof RewardRecipe, z.ZodType>);

/** The key `rewards`. */
export function rewardsKey(): z.ZodType<readonly RewardRecipe[]> {
  // A file's reward is called as the file where nobody names it; without name and file checkRewards says so.
  const reward = schema.transform(
    (parsed): RewardRecipe => ({ ...parsed, name: parsed.name ?? nameOf(parsed.file ?? '') }),
  );
  return z
    .array(reward)
    .min(1)
    .default([{ name: 'correct', weight: 1 }])
    .describe('rules that score a completion, summed by weight');
}

function nameOf(file: string): string {
  return (file.split(/[\\/]/).at(-1) ?? '').replace(/\.[a-z]+$/, '');
}

/** Rewards of which none counts (unless `another` does, beside them), one twice, and settings that do not belong. */
export function checkRewards(
  rewards: readonly RewardRecipe[],
  path: KeyPath,
  another = false,
): RecipeProblem[] {
  const found = rewards.flatMap((reward, i) => checkReward(reward, [...path, i]));
  if (!another && !rewards.some((reward) => reward.weight > 0))
    found.push(problem(path, 'must hold at least one weight above 0, found none'));
  const names = rewards.map((reward) => reward.name);
  const repeated = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (repeated >= 0)
    found.push(problem([...path, repeated, 'name'], `repeats ${names[repeated]}; give each reward once`));
  return found;
}

const SETTINGS = [
  'opened',
  'unit',
  'threshold',
  'middle',
  'steepness',
  'maxLength',
  'buffer',
  'ngram',
  'maxPenalty',
  'correct',
  'wrong',
  'wrongOutcome',
] as const satisfies readonly (keyof RewardSettings)[];
const OF_FILES = ['export', 'perGroup', 'sha256'] as const;

function checkReward(reward: RewardRecipe, path: KeyPath): RecipeProblem[] {
  const { name, file } = reward;
  if (name === '') return [problem([...path, 'name'], 'is missing; give a name or a file')];
  const builtIn = Object.hasOwn(builtInRewards, name) ? builtInRewards[name] : undefined;
  if (file === undefined && !builtIn && !OF_TASKS.includes(name)) {
    const hint = suggest(name, [...OF_TASKS, ...Object.keys(builtInRewards)]);
    return [problem([...path, 'name'], `is no known reward, found ${name}; ${hint}`)];
  }
  const takes: readonly string[] = (file === undefined ? builtIn?.takes : undefined) ?? [];
  const foreign = [
    ...SETTINGS.filter((key) => !takes.includes(key)),
    ...(file === undefined ? OF_FILES : []),
  ];
  return foreign
    .filter((key) => reward[key] !== undefined)
    .map((key) =>
      problem(
        [...path, key],
        `is no setting of ${name}${takes.length > 0 ? `, which takes ${takes.join(', ')}` : ''}`,
      ),
    );
}
