/** Owns the collecting of groups: problems to prompts to completions by an engine. Knows no reward. */

import type { Problem } from '../data/problem.ts';
import type { Engine, GenerationOptions } from '../generate/index.ts';
import { encodePrompt } from '../prompts/index.ts';
import type { Tokenizer } from '../text/index.ts';
import type { Group } from './rollout.ts';

/** How a group is sampled; of problems that are `known` only the lengths count, and their groups come back empty. */
export interface CollectOptions extends GenerationOptions {
  readonly groupSize: number;
  readonly known?: ReadonlyMap<string, readonly number[]> | undefined;
}

/**
 * Samples `groupSize` completions of each problem's prompt. A problem that comes twice is one request of twice as many
 * samples, because two requests would draw the same numbers and complete alike.
 */
export async function collectGroups(
  engine: Engine,
  tokenizer: Tokenizer,
  problems: readonly Problem[],
  promptOf: (problem: Problem) => string,
  options: CollectOptions,
): Promise<Group[]> {
  const visits = new Map<Problem, number>();
  for (const problem of problems) visits.set(problem, (visits.get(problem) ?? 0) + 1);
  const requests = [...visits].map(([problem, count]) => ({
    problemId: problem.id,
    promptIds: encodePrompt(tokenizer, promptOf(problem)),
    samples: count * options.groupSize,
    knownLengths: options.known?.get(problem.id),
  }));
  const rollouts = await engine.generate(requests, options);
  const left = new Map([...visits.keys()].map((problem, i) => [problem, [...rollouts[i]!]]));
  return problems.map((problem) => ({
    problem,
    rollouts: left.get(problem)!.splice(0, options.groupSize),
  }));
}
