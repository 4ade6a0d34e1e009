/** Owns which demonstrations a step learns from, as token ids: all follows from seed and step. Knows no loss. */

import { encodeCompletion, encodePrompt } from '../prompts/index.ts';
import type { Demonstration, Task } from '../rewards/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import type { TrainingSequence } from './micro-batches.ts';
import { itemsOfStep } from './order.ts';

/** Steps whose demonstrations are sorted by length together, so that a batch has little padding. */
const windowSteps = 64;

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
      const drawn = itemsOfStep(task.splits.train, window + 1, size, seed)
        .slice(0, total - window * size)
        .map(({ item, epoch }) => {
          const rng = new Rng({ seed, purpose: 'demonstration', step: epoch, id: item.id });
          return encodeDemonstration(tokenizer, task.demonstrate(item, rng));
        });
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

/** One demonstration of every validation problem, the same in every run of a seed. */
export function validationDemonstrations({
  task,
  tokenizer,
  seed,
}: Pick<DemonstrationSource, 'task' | 'tokenizer' | 'seed'>): TrainingSequence[] {
  return task.splits.validation.map((problem) =>
    encodeDemonstration(
      tokenizer,
      task.demonstrate(problem, new Rng({ seed, purpose: 'validation-demonstration', id: problem.id })),
    ),
  );
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
  const found = `a demonstration takes ${length} positions and the model has ${maxPositions}`;
  throw new ReckonError('recipe', 'too-long', `${found}; raise model.init.maxPositions`);
}
