/**
 * Owns supervised fine-tuning, whole: demonstrations or a file, micro-batches, cross-entropy on completions or on all
 * tokens, AdamW, log, validation, best model, early stopping, checkpoint. Knows no recipe.
 */

import { existsSync } from 'node:fs';
import type { SupervisedLoss } from '../losses/index.ts';
import { padIdOf, readConfig } from '../models/index.ts';
import { trainableParameters } from '../nn/index.ts';
import { clipGradNorm, learningRateAt, type ScheduleOptions } from '../optim/index.ts';
import type { Task } from '../rewards/index.ts';
import { loadTokenizer, type Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { hash32 } from '../util/rng.ts';
import { BestModel } from './best-model.ts';
import { parentOf, type StageOutcome } from './context.ts';
import { accumulateCrossEntropy } from './cross-entropy.ts';
import {
  demonstrationBatches,
  requireDemonstrationRoom,
  validationDemonstrations,
} from './demonstrations.ts';
import { cutMicroBatches, paddingShare, type TrainingSequence } from './micro-batches.ts';
import { extentOf, itemsOfStep, type StageLength } from './order.ts';
import { packMicroBatches } from './packed-batches.ts';
import { sequenceLogps } from './sequence-logps.ts';
import { Session, type SessionOptions, type TrainContext } from './session.ts';
import { readSupervised, wholeSequence } from './supervised-rows.ts';

export interface SftOptions
  extends Omit<SessionOptions, 'trainer' | 'steps'>,
    Omit<ScheduleOptions, 'steps'> {
  /** How long, in steps or in passes over the data. */
  readonly length: StageLength;
  /** The task's own demonstrations, or JSONL of `text`, of `messages`, or of `prompt` and `completion`. */
  readonly data: { readonly from: 'task' } | { readonly from: 'file'; readonly path: string };
  readonly loss: SupervisedLoss;
  /** Which tokens are learned. */
  readonly learn: 'completion' | 'assistant' | 'all';
  /** Sequences in one optimizer step. */
  readonly optimizerBatch: number;
  /** Tokens, padding included, in one forward pass; does not change the result beyond rounding. */
  readonly microBatchTokens: number;
  /** Several sequences share a row, none of them sees another; does not change the result beyond rounding. */
  readonly packing: boolean;
  readonly maxGradNorm: number;
  readonly validation: {
    /** Steps between measurements of the loss on validation sequences; 0 for none. */
    readonly every: number;
    /** JSONL as for `data`; the task's validation problems by default. */
    readonly path: string | null;
    /** The stage's result is the model of the best measurement, not the last. */
    readonly keepBest: boolean;
    /** Measurements in a row without a better one after which the stage ends; null for never. */
    readonly patience: number | null;
  };
}

/** Trains the parent's model on demonstrations; resumes from the stage's newest whole checkpoint. */
export async function trainSft(
  context: TrainContext,
  task: Task,
  options: SftOptions,
): Promise<StageOutcome> {
  const data = trainingData(context, task, options, loadTokenizer(parentOf(context)));
  const { steps } = data;
  using session = new Session(context, { ...options, steps, trainer: 'sft' });
  const best = new BestModel(context.directory);
  const { policy, optimizer } = session;
  const padId = padIdOf(policy);
  const { patience } = options.validation;
  const stalled = () => patience !== null && best.stalled >= patience;
  for (let step = session.startStep + 1; session.goesOn(step) && !stalled(); step++) {
    const started = performance.now();
    const sequences = data.batchOf(step);
    const cut = options.packing ? packMicroBatches : cutMicroBatches;
    const batches = cut(sequences, options.microBatchTokens, padId);
    const { loss, entropy, targets, tokens } = accumulateCrossEntropy(policy, batches, {
      kind: options.loss,
      ...(options.adapter ? { dropoutSeed: hash32(`dropout ${step}`, context.seed) } : {}),
    });
    const gradNorm = clipGradNorm(trainableParameters(policy).values(), options.maxGradNorm);
    session.requireFinite(step, { loss, gradNorm }, sequences);
    const learningRate = learningRateAt(step, { ...options, steps });
    optimizer.step(learningRate);

    const seconds = (performance.now() - started) / 1000;
    const validationLoss = await validated(session, data.validation, best, step, options);
    const record = {
      loss,
      learning_rate: learningRate,
      grad_norm: gradNorm,
      'policy/entropy': entropy,
      'completion/length_mean': targets / sequences.length,
      ...(validationLoss === null ? {} : { 'validation/loss': validationLoss }),
      'batch/tokens': tokens,
      'batch/padding_share': paddingShare(batches),
      'time/step_s': seconds,
      'perf/tokens_per_s': tokens / seconds,
    };
    if (stalled() && step < steps)
      context.log(
        `${context.name}: ends after step ${step}: ${patience} validations in a row were not better than the best`,
      );
    if (await session.finishStep(step, record, stalled())) return session.end('stopped');
  }
  await session.end('done');
  // A stage that was killed and then ended earlier than before may have dropped it for a better one of later.
  if (options.validation.keepBest && best.folder !== null && existsSync(best.folder))
    context.setOutput(best.folder);
  return 'done';
}

/** What a stage learns from, and how often. */
interface TrainingData {
  readonly steps: number;
  readonly validation: readonly TrainingSequence[];
  batchOf(step: number): readonly TrainingSequence[];
}

function trainingData(
  context: TrainContext,
  task: Task,
  options: SftOptions,
  tokenizer: Tokenizer,
): TrainingData {
  const { optimizerBatch: count, data, learn, length, validation } = options;
  const { seed } = context;
  const { maxPositions } = readConfig(parentOf(context));
  const shaped = (sequences: readonly TrainingSequence[]) =>
    learn === 'all' ? sequences.map(wholeSequence) : sequences;
  const rows = (path: string) =>
    readSupervised(
      path,
      tokenizer,
      { completionOnly: learn !== 'all', assistantOnly: learn === 'assistant', maxLength: maxPositions },
      (line) => context.log(line),
    );
  const file = data.from === 'file' ? rows(data.path) : null;
  const size = file?.length ?? task.splits.train.length;
  const { steps, total } = extentOf(length, size, count);
  const source = { task, tokenizer, count, seed, maxPositions };
  if (!file) requireDemonstrationRoom({ ...source, total }, context.name);
  const demonstrations = demonstrationBatches('epochs' in length ? { ...source, total } : source);
  const held = () => (validation.path === null ? validationDemonstrations(source) : rows(validation.path));
  const measured = validation.every === 0 ? [] : shaped(held());
  // The mean over nothing is no number: as the best so far it would never be beaten.
  if (validation.every > 0 && measured.length === 0) throw noValidation(task, validation.path);
  return {
    steps,
    validation: measured,
    batchOf: (step) =>
      file
        ? itemsOfStep(file, step, count, seed, total).map(({ item }) => item)
        : shaped(demonstrations(step)),
  };
}

function noValidation({ name }: Task, path: string | null): ReckonError {
  const found = path === null ? `${name} has no validation problems in this split` : `${path} has no rows`;
  const advice =
    'give sft.validationFile, choose a split with validation problems, or set sft.validateEvery: 0';
  return new ReckonError(
    'recipe',
    'no-validation',
    `sft.validateEvery needs sequences to measure, and ${found}; ${advice}`,
  );
}

/** The mean cross-entropy a token on validation sequences where it is due, in nats. */
async function validated(
  session: Session,
  sequences: readonly TrainingSequence[],
  best: BestModel,
  step: number,
  { validation, microBatchTokens }: SftOptions,
): Promise<number | null> {
  if (validation.every === 0 || step % validation.every !== 0) return null;
  const { policy } = session;
  const batches = cutMicroBatches(sequences, microBatchTokens, padIdOf(policy));
  const targets = batches.reduce((sum, batch) => sum + batch.targets.length, 0);
  const loss = -sequenceLogps(policy, sequences, batches).reduce((sum, logp) => sum + logp, 0) / targets;
  await best.consider(step, loss, validation.keepBest ? session : null);
  return loss;
}
