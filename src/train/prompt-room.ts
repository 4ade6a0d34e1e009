/** Owns the check, before a stage samples, that every prompt it can come to leaves room for a completion. Samples nothing. */

import type { Problem } from '../data/problem.ts';
import { encodePrompt } from '../prompts/index.ts';
import type { Task } from '../rewards/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import type { CollectOptions } from './collect.ts';
import { itemsOfStep } from './order.ts';
import type { Session, TrainContext } from './session.ts';

/** Tokens that an encoder may have beyond one a byte: a bos, and a space put in front. */
const extraTokens = 2;

/** What a stage will draw. */
export interface DrawnPrompts extends Pick<CollectOptions, 'promptsPerStep' | 'sampling'> {
  readonly steps: number;
  /** Times that `promptsPerStep` problems can be drawn in a step; 1 by default. */
  readonly maxDraws?: number;
  /** Of another model that reads the same sequences. */
  readonly alsoPositions?: number;
}

/**
 * Throws `too-long` where a problem that the stage can come to has a prompt with no room for a completion behind it: the
 * engine would at the step that draws it, hours later. Of prompts that vary from visit to visit one is measured.
 */
export function requirePromptRoom(
  { policy, tokenizer }: Pick<Session, 'policy' | 'tokenizer'>,
  { name, seed }: Pick<TrainContext, 'name' | 'seed'>,
  task: Task,
  { steps, promptsPerStep, sampling, maxDraws = 1, alsoPositions = Number.POSITIVE_INFINITY }: DrawnPrompts,
): void {
  const { train } = task.splits;
  const count = Math.min(train.length, steps * maxDraws * promptsPerStep);
  const positions = Math.min(policy.config.maxPositions, alsoPositions);
  const most = positions - sampling.maxCompletionTokens;
  const long: { readonly problem: Problem; readonly length: number }[] = [];
  for (const { item: problem } of itemsOfStep(train, 1, count, seed)) {
    const text = task.prompt(problem, new Rng({ seed, purpose: 'prompt', step: 1, id: problem.id }));
    // Most need not be encoded to be known as short enough.
    if (Buffer.byteLength(text) + extraTokens <= most) continue;
    const { length } = encodePrompt(tokenizer, text);
    if (length > most) long.push({ problem, length });
  }
  if (long.length === 0) return;
  const { problem, length } = long.reduce((most, one) => (one.length > most.length ? one : most));
  const found = `${long.length} of ${count} problems have prompts of more than ${most} tokens (${problem.id}: ${length})`;
  const reason = `the model has ${positions} positions and sampling.maxCompletionTokens takes ${sampling.maxCompletionTokens}`;
  const advice = most < 1 ? 'lower it' : `lower it, or leave them out by task.maxPromptTokens: ${most}`;
  throw new ReckonError('recipe', 'too-long', `${name}: ${found}; ${reason}: ${advice}`);
}
