/** Owns the files of rewards and tasks that a recipe names: where they lie, whether they load, and the hash of their content. */

import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { loadTaskDefinition } from '../rewards/tasks/own-task.ts';
import { loadUserReward } from '../rewards/user-function.ts';
import { messageOf } from '../util/errors.ts';
import { sha256 } from '../util/files.ts';
import type { RecipeProblem } from './issues.ts';
import type { KeyPath } from './nearest.ts';
import type { Recipe } from './recipe.ts';
import { problem } from './stages/kind.ts';
import type { RewardRecipe } from './stages/rewards.ts';
import type { TaskRecipe } from './task.ts';

/**
 * The recipe with its reward files named from the working folder instead of the recipe's, each with its hash, and what is
 * wrong with them: not there, or without the function.
 */
export async function withRewardFiles(
  recipe: Recipe,
  folder: string,
): Promise<{ readonly recipe: Recipe; readonly problems: readonly RecipeProblem[] }> {
  const problems: RecipeProblem[] = [];
  const task = await withTaskFile(recipe.task, folder, ['task'], problems);
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
  return { recipe: { ...recipe, task, stages }, problems };
}

async function locate(reward: RewardRecipe, folder: string): Promise<readonly [RewardRecipe, string | null]> {
  if (reward.file === undefined) return [reward, null];
  const file = relative('.', resolve(folder, reward.file));
  if (!existsSync(file) || !statSync(file).isFile())
    return [reward, `names ${reward.file}, and there is no such file in ${folder}; check the path`];
  const located = { ...reward, file };
  try {
    const score = await loadUserReward(located);
    return [{ ...located, sha256: hashOf(file, [score]) }, null];
  } catch (error) {
    return [located, `names ${reward.file}, which cannot be used: ${messageOf(error)}`];
  }
}

/** A task of a file, of its own or in a mixture, named from the working folder and with its hash; what is wrong goes to `problems`. */
async function withTaskFile<T extends TaskRecipe>(
  task: T,
  folder: string,
  path: KeyPath,
  problems: RecipeProblem[],
): Promise<T> {
  if (task.name === 'mixture') {
    const sources = [];
    for (const [i, source] of task.sources.entries())
      sources.push({
        ...source,
        task: await withTaskFile(source.task, folder, [...path, 'sources', i, 'task'], problems),
      });
    return { ...task, sources };
  }
  if (task.name !== 'own') return task;
  const file = relative('.', resolve(folder, task.file));
  const wrong = (what: string): T => {
    problems.push(problem([...path, 'file'], `names ${task.file}, ${what}`));
    return task;
  };
  if (!existsSync(file) || !statSync(file).isFile())
    return wrong(`and there is no such file in ${folder}; check the path`);
  try {
    const definition = await loadTaskDefinition({ ...task, file });
    return { ...task, file, sha256: hashOf(file, Object.values(definition)) };
  } catch (error) {
    return wrong(`which cannot be used: ${messageOf(error)}`);
  }
}

/**
 * A hash of values and of the file that they come from, with those that it imports from beside it: by their content and their
 * places to each other. What stands between `export default` and a line that begins with `}` counts only as far as it is among
 * the values: the other settings of a recipe may change without changing its rewards and its task.
 */
export function hashOf(file: string, values: readonly unknown[] = []): string {
  const folder = dirname(file);
  const first = resolve(file);
  const seen = new Map<string, string>();
  const open = [first];
  for (let path = open.pop(); path !== undefined; path = open.pop()) {
    if (seen.has(path) || !existsSync(path) || !statSync(path).isFile()) continue;
    const text = readFileSync(path, 'utf8');
    seen.set(path, path === first ? text.replace(/^export default [^\n]*[({]\n[\s\S]*?\n\}.*$/m, '') : text);
    const imported = text.matchAll(/(?:from|import)[ (]{0,4}['"](\.{1,2}\/[^'"\n]{1,300})['"]/g);
    for (const [, name] of imported) open.push(join(dirname(path), name!));
  }
  const parts = [...seen].map(([path, text]) => [relative(folder, path), text]);
  const whole = seen.get(first)?.length === readFileSync(first, 'utf8').length;
  const texts = (whole ? [] : values).map((value) =>
    typeof value === 'function' ? String(value) : JSON.stringify(value),
  );
  return sha256(JSON.stringify([parts.sort(([a], [b]) => (a! < b! ? -1 : 1)), texts]));
}
