/** Owns the collecting of groups: problems to prompts to completions by the engine. Knows no reward. */

import type { Problem } from '../data/problem.ts';
import { type GenerationOptions, generate } from '../generate/index.ts';
import type { Decoder } from '../models/index.ts';
import { encodePrompt } from '../prompts/index.ts';
import type { Tokenizer } from '../text/index.ts';
import type { Group } from './rollout.ts';

/** Samples `groupSize` completions of each problem's prompt from a snapshot of the policy. */
export async function collectGroups(
  snapshot: Decoder,
  tokenizer: Tokenizer,
  problems: readonly Problem[],
  promptOf: (problem: Problem) => string,
  options: GenerationOptions & { readonly groupSize: number },
): Promise<Group[]> {
  const requests = problems.map((problem) => ({
    problemId: problem.id,
    promptIds: encodePrompt(tokenizer, promptOf(problem)),
    samples: options.groupSize,
  }));
  const rollouts = await generate(snapshot, tokenizer, requests, options);
  return problems.map((problem, i) => ({ problem, rollouts: rollouts[i]! }));
}
