/** Owns the collecting of groups: problems to prompts to completions by the engine. Knows no reward. */

import type { Problem } from '../data/problem.ts';
import { type GenerationOptions, generate } from '../generate/index.ts';
import type { Decoder } from '../models/index.ts';
import { encodePrompt } from '../prompts/index.ts';
import type { Tokenizer } from '../text/index.ts';
import type { Group } from './rollout.ts';

/** How a group is sampled; of problems that are `known` only the lengths count, and their groups come back empty. */
export interface CollectOptions extends GenerationOptions {
  readonly groupSize: number;
  readonly known?: ReadonlyMap<string, readonly number[]> | undefined;
}

/** Samples `groupSize` completions of each problem's prompt from a snapshot of the policy. */
export async function collectGroups(
  snapshot: Decoder,
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
  const rollouts = await generate(snapshot, tokenizer, requests, options);
  return problems.map((problem, i) => ({ problem, rollouts: rollouts[i]! }));
}
