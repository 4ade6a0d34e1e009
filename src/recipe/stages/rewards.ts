/** Owns how a stage names its rewards. Computes none. */

import * as z from 'zod';
import type { RecipeProblem } from '../issues.ts';
import type { KeyPath } from '../nearest.ts';
import { problem } from './kind.ts';

/** A reward of the task by name, and its factor in the sum. */
export interface RewardRecipe {
  readonly name: 'correct' | 'format' | 'process';
  readonly weight: number;
}

/** The key `rewards`. */
export function rewardsKey(): z.ZodType<readonly RewardRecipe[]> {
  const reward = z.strictObject({
    name: z.enum(['correct', 'format', 'process']).describe('which rule scores the completion'),
    weight: z.number().describe('its factor in the sum'),
  });
  return z
    .array(reward)
    .min(1)
    .default([{ name: 'correct', weight: 1 }])
    .describe('rules that score a completion, summed by weight');
}

/** Rewards of which none counts (unless `another` does, beside them), or one twice. */
export function checkRewards(
  rewards: readonly RewardRecipe[],
  path: KeyPath,
  another = false,
): RecipeProblem[] {
  const found: RecipeProblem[] = [];
  if (!another && !rewards.some((reward) => reward.weight > 0))
    found.push(problem(path, 'must hold at least one weight above 0, found none'));
  const names = rewards.map((reward) => reward.name);
  const repeated = names.findIndex((name, i) => names.indexOf(name) !== i);
  if (repeated >= 0)
    found.push(problem([...path, repeated, 'name'], `repeats ${names[repeated]}; give each reward once`));
  return found;
}
