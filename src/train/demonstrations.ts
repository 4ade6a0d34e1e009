/** Owns which demonstrations a step learns from, as token ids: all follows from seed and step. Knows no loss. */

import type { Problem } from '../data/problem.ts';
import { encodeCompletion, encodePrompt } from '../prompts/index.ts';
import type { Demonstration, Task } from '../rewards/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import type { TrainingSequence } from './micro-batches.ts';
import { itemsOfStep } from './order.ts';
import { extraTokens, longest } from './prompt-room.ts';

/** Steps whose demonstrations are sorted by length together, so that a batch has little padding. */
const windowSteps = 64;

/** Demonstrations that are encoded before a stage begins, to see whether they fit: some seconds' worth. */
const mostEncoded = 1000;

/** Where demonstrations come from and how many make a step. */
export interface DemonstrationSource {
  readonly task: Task;
  readonly tokenizer: Tokenizer;
  /** Sequences in a step. */
  readonly count: number;
  readonly seed: number;
  /** Sequences of all steps together, where these are whole passes over the problems. */
  readonly total?: number;
  /** Longer ones are an error. */
  readonly maxPositions: number;
}

/**
 * Batches by step: demonstrations of `windowSteps` steps are drawn (each visit to a problem gets another solution and
 * another order of its numbers), grouped by length and dealt out in a random order. What passes `total` is not drawn, so that
 * whole passes have every problem equally often; a smaller batch that this leaves is the last.
 */
export function demonstrationBatches(source: DemonstrationSource): (step: number) => TrainingSequence[] {
  const { task, tokenizer, count, seed, maxPositions, total = Number.POSITIVE_INFINITY } = source;
  let current = -1;
  let batches: TrainingSequence[][] = [];
  return (step) => {
    const window = Math.floor((step - 1) / windowSteps);
    if (window !== current) {
      const size = count * windowSteps;
      const drawn = itemsOfStep(task.splits.train, window + 1, size, seed, total).map(({ item, epoch }) =>
        encodeDemonstration(tokenizer, demonstrationOf(task, item, epoch, seed)),
      );
      refuseLong(drawn, maxPositions);
      const whole = Math.floor(drawn.length / count);
      const sorted = drawn.slice(0, whole * count).sort((a, b) => lengthOf(a) - lengthOf(b));
      const groups = Array.from({ length: whole }, (_, i) => sorted.slice(i * count, (i + 1) * count));
      batches = new Rng({ seed, purpose: 'length-groups', step: window }).shuffled(groups);
      batches.push(drawn.slice(whole * count));
      current = window;
    }
    return batches[(step - 1) % windowSteps]!;
  };
}

/**
 * Throws `too-long` where a demonstration that the stage comes to does not fit the model: its batch would be hours later.
 * The longest in bytes are encoded, of a problem that comes again with another solution the first visit; whatever else there
 * may be is found as it is drawn.
 */
export function requireDemonstrationRoom(
  { task, tokenizer, seed, maxPositions, total = Number.POSITIVE_INFINITY }: DemonstrationSource,
  name: string,
): void {
  const { train } = task.splits;
  const bytesOf = ({ prompt, completion }: Demonstration) =>
    Buffer.byteLength(prompt) + Buffer.byteLength(completion);
  const measured = itemsOfStep(train, 1, Math.min(train.length, total), seed)
    .map(({ item, epoch }) => ({ item, epoch, bytes: bytesOf(demonstrationOf(task, item, epoch, seed)) }))
    .filter(({ bytes }) => bytes + 2 * extraTokens > maxPositions)
    .sort((a, b) => b.bytes - a.bytes)
    .slice(0, mostEncoded);
  const long = measured
    .map(({ item, epoch }) => {
      const sequence = encodeDemonstration(tokenizer, demonstrationOf(task, item, epoch, seed));
      return { id: item.id, length: lengthOf(sequence) };
    })
    .filter(({ length }) => length > maxPositions);
  if (long.length === 0) return;
  const found = `${long.length} of the ${measured.length} longest demonstrations have more than ${maxPositions} tokens, prompt included (${longest(long)})`;
  throw tooLong(`${name}: ${found}`, maxPositions);
}

/** One demonstration of every validation problem, the same in every run of a seed. */
export function validationDemonstrations({
  task,
  tokenizer,
  seed,
  maxPositions,
}: Pick<DemonstrationSource, 'task' | 'tokenizer' | 'seed' | 'maxPositions'>): TrainingSequence[] {
  const sequences = task.splits.validation.map((problem) =>
    encodeDemonstration(
      tokenizer,
      task.demonstrate(problem, new Rng({ seed, purpose: 'validation-demonstration', id: problem.id })),
    ),
  );
  refuseLong(sequences, maxPositions);
  return sequences;
}

/** What a visit to a problem learns from. */
function demonstrationOf(task: Task, problem: Problem, epoch: number, seed: number): Demonstration {
  return task.demonstrate(problem, new Rng({ seed, purpose: 'demonstration', step: epoch, id: problem.id }));
}

function encodeDemonstration(tokenizer: Tokenizer, { prompt, completion }: Demonstration): TrainingSequence {
  return {
    promptIds: encodePrompt(tokenizer, prompt),
    completionIds: encodeCompletion(tokenizer, completion),
  };
}

/** Prompt and completion in tokens. */
export function lengthOf({ promptIds, completionIds }: TrainingSequence): number {
  return promptIds.length + completionIds.length;
}

function refuseLong(sequences: readonly TrainingSequence[], maxPositions: number): void {
  const length = sequences.reduce((most, one) => Math.max(most, lengthOf(one)), 0);
  if (length <= maxPositions) return;
  throw tooLong(`a demonstration takes ${length} tokens, prompt included`, maxPositions);
}

function tooLong(found: string, maxPositions: number): ReckonError {
  const advice =
    'raise model.init.maxPositions, or leave longer ones out by task.maxPromptTokens and task.maxSolutionTokens';
  return new ReckonError(
    'recipe',
    'too-long',
    `${found}; the model has ${maxPositions} positions: ${advice}`,
  );
}
