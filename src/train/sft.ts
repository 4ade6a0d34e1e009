/**
 * Owns supervised fine-tuning, whole: demonstrations, micro-batches, cross-entropy on the completion's tokens,
 * AdamW, log, checkpoint. Knows no recipe.
 */

import { clipGradNorm, learningRateAt, type ScheduleOptions } from '../optim/index.ts';
import { encodeCompletion, encodePrompt } from '../prompts/index.ts';
import type { Demonstration, Task } from '../rewards/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import type { StageOutcome } from './context.ts';
import { accumulateCrossEntropy } from './cross-entropy.ts';
import { cutMicroBatches, paddingShare, type TrainingSequence } from './micro-batches.ts';
import { itemsOfStep } from './order.ts';
import { Session, type SessionOptions, type TrainContext } from './session.ts';

export interface SftOptions extends Omit<SessionOptions, 'trainer'>, ScheduleOptions {
  /** Sequences in one optimizer step. */
  readonly optimizerBatch: number;
  /** Tokens, padding included, in one forward pass; does not change the result beyond rounding. */
  readonly microBatchTokens: number;
  readonly maxGradNorm: number;
}

/** Trains the parent's model on the task's demonstrations; resumes from the stage's newest whole checkpoint. */
export async function trainSft(
  context: TrainContext,
  task: Task,
  options: SftOptions,
): Promise<StageOutcome> {
  using session = new Session(context, { ...options, trainer: 'sft' });
  const { policy, tokenizer, optimizer } = session;
  const { maxPositions } = policy.config;
  const batchOf = demonstrationBatches(task, tokenizer, options.optimizerBatch, context.seed, maxPositions);
  for (let step = session.startStep + 1; step <= options.steps; step++) {
    const started = performance.now();
    const sequences = batchOf(step);
    const batches = cutMicroBatches(sequences, options.microBatchTokens, policy.config.padTokenId ?? 0);
    const { loss, targets, tokens } = accumulateCrossEntropy(policy, batches);
    const gradNorm = clipGradNorm(policy.stateDict().values(), options.maxGradNorm);
    session.requireFinite(step, { loss, gradNorm }, sequences);
    const learningRate = learningRateAt(step, options);
    optimizer.step(learningRate);

    const seconds = (performance.now() - started) / 1000;
    const stop = await session.finishStep(step, {
      loss,
      learning_rate: learningRate,
      grad_norm: gradNorm,
      'completion/length_mean': targets / sequences.length,
      'batch/tokens': tokens,
      'batch/padding_share': paddingShare(batches),
      'time/step_s': seconds,
      'perf/tokens_per_s': tokens / seconds,
    });
    if (stop) return session.end('stopped');
  }
  return session.end('done');
}

/** Steps whose demonstrations are sorted by length together, so that a batch has little padding. */
const windowSteps = 64;

/**
 * Batches by step: demonstrations of `windowSteps` steps are drawn (each visit to a problem gets another solution and
 * another order of its numbers), grouped by length and dealt out in a random order. All follows from seed and step.
 */
function demonstrationBatches(
  task: Task,
  tokenizer: Tokenizer,
  count: number,
  seed: number,
  maxPositions: number,
): (step: number) => TrainingSequence[] {
  let current = -1;
  let batches: TrainingSequence[][] = [];
  return (step) => {
    const window = Math.floor((step - 1) / windowSteps);
    if (window !== current) {
      const drawn = itemsOfStep(task.splits.train, window + 1, count * windowSteps, seed).map(
        ({ item, epoch }) =>
          encoded(
            tokenizer,
            task.demonstrate(item, new Rng({ seed, purpose: 'demonstration', step: epoch, id: item.id })),
          ),
      );
      const sorted = drawn.sort((a, b) => lengthOf(a) - lengthOf(b));
      refuseLong(sorted.at(-1)!, maxPositions);
      const groups = Array.from({ length: windowSteps }, (_, i) => sorted.slice(i * count, (i + 1) * count));
      batches = new Rng({ seed, purpose: 'length-groups', step: window }).shuffled(groups);
      current = window;
    }
    return batches[(step - 1) % windowSteps]!;
  };
}

function encoded(tokenizer: Tokenizer, { prompt, completion }: Demonstration): TrainingSequence {
  return {
    promptIds: encodePrompt(tokenizer, prompt),
    completionIds: encodeCompletion(tokenizer, completion),
  };
}

function refuseLong(longest: TrainingSequence, maxPositions: number): void {
  const length = lengthOf(longest);
  if (length <= maxPositions) return;
  const found = `a demonstration takes ${length} positions and the model has ${maxPositions}`;
  throw new ReckonError('recipe', 'too-long', `${found}; raise model.init.maxPositions`);
}

function lengthOf({ promptIds, completionIds }: TrainingSequence): number {
  return promptIds.length + completionIds.length;
}
