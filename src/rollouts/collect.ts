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

/** Samples `groupSize` completions of each problem's prompt. */
export async function collectGroups(
  engine: Engine,
  tokenizer: Tokenizer,
  problems: readonly Problem[],
  promptOf: (problem: Problem) => string,
  options: CollectOptions,
): Promise<Group[]> {
  const requests = problems.map((problem) => ({
    problemId: problem.id,
    promptIds: encodePrompt(tokenizer, promptOf(problem)),
    samples: options.groupSize,
    knownLengths: options.known?.get(problem.id),
  }));
  const rollouts = await engine.generate(requests, options);
  return problems.map((problem, i) => ({ problem, rollouts: rollouts[i]! }));
}
