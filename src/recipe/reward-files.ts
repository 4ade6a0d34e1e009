/** Owns the files of rewards that a recipe names: where they lie, whether they load, and the hash of their content. */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { loadUserReward } from '../rewards/user-function.ts';
import { messageOf } from '../util/errors.ts';
import { sha256 } from '../util/files.ts';
import type { RecipeProblem } from './issues.ts';
import type { Recipe } from './recipe.ts';
import { problem } from './stages/kind.ts';
import type { RewardRecipe } from './stages/rewards.ts';

/**
 * The recipe with its reward files named from the working folder instead of the recipe's, each with its hash, and what is
 * wrong with them: not there, or without the function.
 */
export async function withRewardFiles(
  recipe: Recipe,
  folder: string,
): Promise<{ readonly recipe: Recipe; readonly problems: readonly RecipeProblem[] }> {
  const problems: RecipeProblem[] = [];
  const stages: Recipe['stages'][number][] = [];
  for (const [i, stage] of recipe.stages.entries()) {
    if (!('rewards' in stage) || stage.rewards.every((reward) => reward.file === undefined)) {
      stages.push(stage);
      continue;
    }
    const rewards: RewardRecipe[] = [];
    for (const [j, reward] of stage.rewards.entries()) {
      const [located, trouble] = await locate(reward, folder);
      rewards.push(located);
      if (trouble !== null) problems.push(problem(['stages', i, 'rewards', j, 'file'], trouble));
    }
    stages.push({ ...stage, rewards });
  }
  return { recipe: { ...recipe, stages }, problems };
}

async function locate(reward: RewardRecipe, folder: string): Promise<readonly [RewardRecipe, string | null]> {
  if (reward.file === undefined) return [reward, null];
  const file = relative('.', resolve(folder, reward.file));
  if (!existsSync(file) || !statSync(file).isFile())
    return [reward, `names ${reward.file}, and there is no such file in ${folder}; check the path`];
  const located = { ...reward, file, sha256: hashOf(file) };
  try {
    await loadUserReward({ ...located, file });
    return [located, null];
  } catch (error) {
    return [located, `names ${reward.file}, which cannot be used: ${messageOf(error)}`];
  }
}

/** A hash of a file and of those that it imports from beside it, by their content and their places to each other. */
export function hashOf(file: string): string {
  const folder = dirname(file);
  const seen = new Map<string, string>();
  const open = [resolve(file)];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (seen.has(path) || !existsSync(path) || !statSync(path).isFile()) continue;
    const text = readFileSync(path, 'utf8');
    seen.set(path, text);
    const imported = text.matchAll(/(?:from|import)[ (]{0,4}['"](\.{1,2}\/[^'"\n]{1,300})['"]/g);
    for (const [, name] of imported) open.push(join(dirname(path), name!));
  }
  const parts = [...seen].map(([path, text]) => [relative(folder, path), text]);
  return sha256(JSON.stringify(parts.sort(([a], [b]) => (a! < b! ? -1 : 1))));
}
