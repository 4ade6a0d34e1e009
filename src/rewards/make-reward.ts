/** Owns turning what a recipe says of a reward into the reward. Reads no recipe. */

import { type MadeReward, makeBuiltIn, type RewardSettings } from './built-in.ts';
import type { Reward } from './reward.ts';
import type { Task } from './task.ts';
import type { UserRewardOptions } from './user-function.ts';
import { userReward } from './user-reward.ts';

/** A reward as a recipe names it: of the task, built in, or of a file. */
export interface RewardChoice extends RewardSettings, Omit<UserRewardOptions, 'file'> {
  readonly name: string;
  /** A TypeScript file of the user's. */
  readonly file?: string | undefined;
  readonly weight: number;
  readonly missing?: number | undefined;
  readonly onError?: 'fail' | 'missing' | undefined;
  readonly timeoutMs?: number | undefined;
}

/**
 * The reward of a choice: a file's where one is named, else the task's own, else a built-in one. `maxCompletionTokens` is
 * the limit that lengths are measured against. Throws `unknown-reward`.
 */
export function makeReward(choice: RewardChoice, task: Task, maxCompletionTokens: number): Reward {
  const { name, weight, missing, onError } = choice;
  // A file's function has its own clock, which starts when it is called and not when it is asked for.
  const timeout = choice.file === undefined ? choice.timeoutMs : undefined;
  return {
    name,
    weight,
    missing,
    onError,
    timeout,
    ...functionsOf(choice, task, maxCompletionTokens),
  };
}

function functionsOf(choice: RewardChoice, task: Task, maxCompletionTokens: number): MadeReward {
  if (choice.file !== undefined) return userReward({ ...choice, file: choice.file }, choice.timeoutMs);
  const own = Object.hasOwn(task.rewards, choice.name) ? task.rewards[choice.name] : undefined;
  if (own) return { score: own };
  const correct = task.rewards['correct'] ?? (() => null);
  return makeBuiltIn(choice.name, choice, { correct, maxCompletionTokens });
}
