/** Owns completions to try rewards on: made from a task's demonstrations, or read from a file. Scores nothing. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import * as z from 'zod';
import type { Problem } from '../data/problem.ts';
import { labelOf, type Recipe, type RewardRecipe } from '../recipe/index.ts';
import type { Task } from '../rewards/index.ts';
import type { Group, Rollout } from '../rollouts/rollout.ts';
import { loadTokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { readJsonl } from '../util/jsonl.ts';
import { Rng } from '../util/rng.ts';

/** The completions of a problem, each with what it is. */
export interface LabelledGroup extends Group {
  readonly labels: readonly string[];
}

/** The rewards of a stage by label or type, or of the first that has any; throws `no-rewards` where none has. */
export function rewardStage(
  recipe: Recipe,
  wanted?: string,
): { readonly name: string; readonly chosen: readonly RewardRecipe[] } {
  for (const stage of recipe.stages) {
    const name = labelOf(stage) ?? stage.type;
    if (!('rewards' in stage) || (wanted !== undefined && wanted !== name && wanted !== stage.type)) continue;
    return { name, chosen: stage.rewards };
  }
  const what = wanted === undefined ? 'a stage' : `the stage ${wanted}`;
  throw new ReckonError('usage', 'no-rewards', `expected ${what} of the recipe to have rewards, found none`);
}

/**
 * For the first training problems: a demonstration, its first half cut off at the length limit, a demonstration of another
 * problem, one that says everything twice, and nothing.
 */
export function sampleCompletions(recipe: Recipe, task: Task, count: number): LabelledGroup[] {
  const { train } = task.splits;
  const encode = encoderOf(recipe);
  return train.slice(0, count).map((problem, i) => {
    const rng = new Rng({ seed: recipe.seed, purpose: 'reward-test', id: problem.id });
    const { completion } = task.demonstrate(problem, rng);
    const other = task.demonstrate(train[(i + 1) % train.length]!, rng).completion;
    const samples: [string, string, Rollout['stopReason']][] = [
      ['demonstration', completion, 'eos'],
      ['cut in half', completion.slice(0, completion.length / 2), 'length'],
      ["another problem's", other, 'eos'],
      ['said twice', `${completion}\n${completion}`, 'eos'],
      ['nothing', '', 'eos'],
    ];
    return {
      problem,
      labels: samples.map(([label]) => label),
      rollouts: samples.map(([, text, stopReason], at) => rollout(problem, at, text, stopReason, encode)),
    };
  });
}

/** The completions of a file, by problem in the order of the file; throws `unknown-problem` for an id that no split has. */
export function givenCompletions(recipe: Recipe, task: Task, file: string): LabelledGroup[] {
  const line = z.object({ completion: z.string(), problemId: z.string().optional() });
  const problems = Object.values(task.splits).flat();
  const byId = new Map(problems.map((problem) => [problem.id, problem]));
  const encode = encoderOf(recipe);
  const groups = new Map<Problem, { labels: string[]; rollouts: Rollout[] }>();
  let number = 0;
  for (const { completion, problemId } of readJsonl(file, (value) => line.parse(value))) {
    number++;
    const problem = problemId === undefined ? problems[0] : byId.get(problemId);
    if (!problem) {
      const message = `${file}:${number}: the task has no problem ${problemId}; leave problemId out or mend it`;
      throw new ReckonError('usage', 'unknown-problem', message);
    }
    const group = groups.get(problem) ?? { labels: [], rollouts: [] };
    groups.set(problem, group);
    group.rollouts.push(rollout(problem, group.rollouts.length, completion, 'eos', encode));
    group.labels.push(`line ${number}`);
  }
  return [...groups].map(([problem, group]) => ({ problem, ...group }));
}

function rollout(
  problem: Problem,
  sampleIndex: number,
  text: string,
  stopReason: Rollout['stopReason'],
  encode: (text: string) => number[],
): Rollout {
  const completionIds = encode(text);
  const zeros = completionIds.map(() => 0);
  return {
    problemId: problem.id,
    sampleIndex,
    promptIds: [],
    completionIds,
    logps: zeros,
    samplingLogps: zeros,
    stopReason,
    text,
    policyStep: 0,
  };
}

/** The model's own tokenizer where its folder is there; else every character is a token, as for a model that is new. */
function encoderOf({ model }: Recipe): (text: string) => number[] {
  const { path } = model;
  if (path === undefined || !existsSync(join(path, 'tokenizer.json')))
    return (text) => Array.from(text, (character) => character.codePointAt(0)!);
  const tokenizer = loadTokenizer(path);
  return (text) => tokenizer.encode(text);
}
