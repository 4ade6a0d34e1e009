/** Owns the checks, before a stage begins, that every prompt it can come to leaves room for a completion. Samples nothing. */

import type { Problem } from '../data/problem.ts';
import { encodePrompt } from '../prompts/index.ts';
import type { Task } from '../rewards/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import type { CollectOptions } from './collect.ts';
import { itemsOfStep } from './order.ts';
import type { Session, TrainContext } from './session.ts';

/** Tokens that an encoder may have beyond one a byte: a bos or an eos, and a space put in front. */
export const extraTokens = 2;

/** What a stage will draw. */
export interface DrawnPrompts extends Pick<CollectOptions, 'promptsPerStep' | 'sampling'> {
  readonly steps: number;
  /** Times that `promptsPerStep` problems can be drawn in a step; 1 by default. */
  readonly maxDraws?: number;
  /** Of another model that reads the same sequences. */
  readonly alsoPositions?: number;
}

/**
 * `requireRoom` for the problems that a trained stage can come to: the engine would throw at the step that draws one, hours
 * later. Of prompts that vary from visit to visit one is measured.
 */
export function requirePromptRoom(
  { policy, tokenizer }: Pick<Session, 'policy' | 'tokenizer'>,
  { name, seed }: Pick<TrainContext, 'name' | 'seed'>,
  task: Task,
  { steps, promptsPerStep, sampling, maxDraws = 1, alsoPositions = Number.POSITIVE_INFINITY }: DrawnPrompts,
): void {
  const { train } = task.splits;
  const count = Math.min(train.length, steps * maxDraws * promptsPerStep);
  const problems = itemsOfStep(train, 1, count, seed).map(({ item }) => item);
  const promptOf = (problem: Problem) =>
    task.prompt(problem, new Rng({ seed, purpose: 'prompt', step: 1, id: problem.id }));
  const positions = Math.min(policy.config.maxPositions, alsoPositions);
  requireRoom(problems, promptOf, { name, tokenizer, positions, sampling });
}

/** What prompts must leave room in. */
export interface Room {
  /** The stage, with which the error begins. */
  readonly name: string;
  /** Which problems they are of, such as test; none by default. */
  readonly split?: string;
  readonly tokenizer: Tokenizer;
  readonly positions: number;
  readonly sampling: { readonly maxCompletionTokens: number };
}

/** Throws `too-long`, with the longest, where a problem's prompt leaves no room for a completion behind it. */
export function requireRoom(
  problems: readonly Problem[],
  promptOf: (problem: Problem) => string,
  { name, split, tokenizer, positions, sampling: { maxCompletionTokens } }: Room,
): void {
  const most = positions - maxCompletionTokens;
  const long = problems.flatMap((problem) => {
    const text = promptOf(problem);
    // Most need not be encoded to be known as short enough.
    if (Buffer.byteLength(text) + extraTokens <= most) return [];
    const { length } = encodePrompt(tokenizer, text);
    return length > most ? [{ id: problem.id, length }] : [];
  });
  if (long.length === 0) return;
  const which = split === undefined ? 'problems' : `${split} problems`;
  const found = `${long.length} of ${problems.length} ${which} have prompts of more than ${most} tokens (${longest(long)})`;
  const reason = `the model has ${positions} positions and sampling.maxCompletionTokens takes ${maxCompletionTokens}`;
  const advice = most < 1 ? 'lower it' : `lower it, or leave them out by task.maxPromptTokens: ${most}`;
  throw new ReckonError('recipe', 'too-long', `${name}: ${found}; ${reason}: ${advice}`);
}

/** The longest of what is too long, as `id: length`. */
export function longest(long: readonly { readonly id: string; readonly length: number }[]): string {
  const { id, length } = long.reduce((most, one) => (one.length > most.length ? one : most));
  return `${id}: ${length}`;
}
