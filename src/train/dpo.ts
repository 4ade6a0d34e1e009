/**
 * Owns learning from preference pairs, whole: pairs from a file or from own rollouts, reference log-probabilities, loss,
 * step, log, checkpoint (Rafailov et al. 2023 and its family by name). Knows no recipe and no particular task.
 */

import type { PreferencePair } from '../data/training-rows.ts';
import { ktoZeroPoint } from '../losses/index.ts';
import { needsReference } from '../losses/preference-names.ts';
import { Decoder, padIdOf } from '../models/index.ts';
import { trainableParameters } from '../nn/index.ts';
import { clipGradNorm, type ScheduleOptions } from '../optim/index.ts';
import { type ScoredGroup, scoreGroups, type Task } from '../rewards/index.ts';
import type { MetricRecord } from '../track/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import { mean } from '../util/statistics.ts';
import { collectStep, type RolloutSampling } from './collect.ts';
import type { StageOutcome } from './context.ts';
import { type MicroBatch, paddingShare, type TrainingSequence } from './micro-batches.ts';
import { itemsOfStep, minibatchesOf } from './order.ts';
import { packMicroBatches } from './packed-batches.ts';
import {
  firstErrorPairs,
  mismatchedSequences,
  outcomePairs,
  pairLine,
  pairSequences,
  readPairs,
} from './pairs.ts';
import { type ObjectiveOptions, pairObjective } from './preference-objective.ts';
import { requirePromptRoom } from './prompt-room.ts';
import { Reference, type ReferenceOptions } from './reference.ts';
import { rolloutLines } from './rollout-lines.ts';
import { judgementMetrics } from './rollout-metrics.ts';
import { backwardThroughSequenceLogps, sequenceLogps } from './sequence-logps.ts';
import { Session, type SessionOptions, type TrainContext } from './session.ts';

/** Where pairs come from: a JSONL file, or completions that the policy samples in every step and the task judges. */
export type PairSource =
  | { readonly from: 'file'; readonly path: string }
  | {
      readonly from: 'rollouts';
      readonly promptsPerStep: number;
      readonly groupSize: number;
      /** Whole completions by their verdicts, or the first wrong line against a right one. */
      readonly compare: 'outcome' | 'first-error';
      readonly pairsPerProblem: number;
    };

export interface DpoOptions
  extends Omit<SessionOptions, 'trainer'>,
    ScheduleOptions,
    ObjectiveOptions,
    ReferenceOptions {
  readonly pairs: PairSource;
  /** As in `ReferenceOptions`, or `previous`: the policy as it was when the step began. */
  readonly reference: string;
  /** Pairs of a file: the reference scores all of them once and is freed. */
  readonly precompute: boolean;
  /** Pairs of the file, or problems, of all steps together, where these are whole passes over them. */
  readonly total?: number | undefined;
  /** Pairs in one optimizer step. */
  readonly optimizerBatch: number;
  /** Tokens, padding included, in one forward pass; does not change the result beyond rounding. */
  readonly microBatchTokens: number;
  /** Passes over the pairs of a step's rollouts. */
  readonly epochs: number;
  readonly maxGradNorm: number;
  readonly sampling: RolloutSampling;
}

/** Trains the parent's model to prefer; resumes from the stage's newest whole checkpoint. */
export async function trainDpo(
  context: TrainContext,
  task: Task,
  options: DpoOptions,
): Promise<StageOutcome> {
  using session = new Session(context, { ...options, trainer: 'dpo' });
  if (options.pairs.from !== 'file')
    requirePromptRoom(session, context, task, { ...options, ...options.pairs });
  using rolloutFile = session.jsonl('rollouts/train.jsonl');
  using pairFile = session.jsonl('rollouts/pairs.jsonl');
  const { policy, optimizer, tokenizer } = session;
  const known = options.pairs.from === 'file' ? filePairs(session, options.pairs.path) : null;
  const lasting = needsReference(options.objective) && options.reference !== 'previous';
  const asked = { ...options, reference: lasting ? options.reference : 'none' };
  using reference = new Reference(session, context, asked);
  const { model } = reference;
  const precomputed = known && model && options.precompute ? scoreAll(model, known, options) : null;
  if (precomputed) reference[Symbol.dispose]();
  for (let step = session.startStep + 1; session.goesOn(step); step++) {
    const started = performance.now();
    const scored = known ? [] : await judgedRollouts(session, context, task, options, step);
    const pairs = known
      ? itemsOfStep(known, step, options.optimizerBatch, context.seed, options.total).map(({ item }) => item)
      : scored.flatMap((group) => pairsOf(group, task, session, context.seed, step, options.pairs));
    const rolloutSeconds = (performance.now() - started) / 1000;

    using previous = wantsPrevious(options) ? policy.snapshot() : null;
    const learningRate = session.learningRate(step, options);
    const updates: PairUpdate[] = [];
    for (const minibatch of known ? [pairs] : minibatchesOf(pairs, options, context.seed, step)) {
      const compared = precomputed ?? reference.model ?? previous;
      const update = accumulatePairs(policy, minibatch, options, compared);
      const gradNorm = clipGradNorm(trainableParameters(policy).values(), options.maxGradNorm);
      session.requireFinite(step, { loss: update.metrics.loss, gradNorm }, minibatch);
      optimizer.step(learningRate);
      updates.push({ ...update, metrics: { ...update.metrics, grad_norm: gradNorm } });
    }

    reference.follow(policy, step);

    const seconds = (performance.now() - started) / 1000;
    const tokens = updates.reduce((sum, update) => sum + update.tokens, 0);
    rolloutFile.append(...rolloutLines(step, scored));
    if (!known) pairFile.append(...pairs.map((pair) => pairLine(step, tokenizer, pair)));
    const stop = await session.finishStep(step, {
      loss: null,
      learning_rate: learningRate,
      ...averaged(updates.map((update) => update.metrics)),
      ...(known ? {} : { ...judgementMetrics(scored), 'time/rollout_s': rolloutSeconds }),
      'preference/pairs': pairs.length,
      'batch/tokens': tokens,
      'time/step_s': seconds,
      'time/update_s': seconds - rolloutSeconds,
      'perf/tokens_per_s': tokens / seconds,
    });
    if (stop) return session.end('stopped');
  }
  return session.end('done');
}

interface PairUpdate {
  readonly metrics: MetricRecord & { readonly loss: number };
  /** Input tokens without padding. */
  readonly tokens: number;
}

/** Summed log-probabilities of the reference: from a model, or read off where they were computed before. */
type Judge = Decoder | ReadonlyMap<PreferencePair, readonly [chosen: number, rejected: number]>;

/** Accumulates the gradient of one optimizer batch of pairs into the policy's parameters. */
function accumulatePairs(
  policy: Decoder,
  pairs: readonly PreferencePair[],
  options: DpoOptions,
  reference: Judge | null,
): PairUpdate {
  const sequences = pairSequences(pairs);
  const batches = cut(policy, sequences, options);
  const targets = sequences.reduce((sum, sequence) => sum + sequence.completionIds.length, 0);
  const batch = {
    lengths: sequences.map(({ completionIds }) => completionIds.length),
    reference: reference && referenceLogps(reference, pairs, sequences, batches),
    zeroPoint: options.objective === 'kto' ? zeroPointOf(policy, reference, pairs, options) : 0,
  };
  let metrics: MetricRecord = {};
  const { loss, entropy } = backwardThroughSequenceLogps(policy, sequences, batches, (sums_S) => {
    const objective = pairObjective(sums_S, batch, options);
    metrics = objective.metrics;
    return objective.loss;
  });
  return {
    metrics: {
      ...metrics,
      loss,
      'policy/entropy': entropy / targets,
      'batch/padding_share': paddingShare(batches),
    },
    tokens: batches.reduce((sum, one) => sum + one.tokens, 0),
  };
}

/** Packed: prompts and completions of pairs differ much in length, and rectangles of them would be half padding. */
function cut(model: Decoder, sequences: readonly TrainingSequence[], options: DpoOptions): MicroBatch[] {
  return packMicroBatches(sequences, options.microBatchTokens, padIdOf(model));
}

/** In the order of `pairSequences`; a model reads the same micro-batches as the policy, so that ratios begin at 1. */
function referenceLogps(
  reference: Judge,
  pairs: readonly PreferencePair[],
  sequences: readonly TrainingSequence[],
  batches: readonly MicroBatch[],
): Float32Array {
  if (reference instanceof Decoder) return sequenceLogps(reference, sequences, batches);
  const known = pairs.map((pair) => reference.get(pair)!);
  return Float32Array.from([...known.map(([chosen]) => chosen), ...known.map(([, rejected]) => rejected)]);
}

/** KTO's reference point of a batch, from both models. */
function zeroPointOf(
  policy: Decoder,
  reference: Judge | null,
  pairs: readonly PreferencePair[],
  options: DpoOptions,
): number {
  if (!(reference instanceof Decoder)) {
    const reason = 'it scores completions under prompts of other pairs, which change with every batch';
    throw new ReckonError('recipe', 'kto-reference', `kto needs a live reference model: ${reason}`);
  }
  const sequences = mismatchedSequences(pairs, policy.config.maxPositions);
  const batches = cut(policy, sequences, options);
  const theirs = sequenceLogps(reference, sequences, batches);
  return ktoZeroPoint([...sequenceLogps(policy, sequences, batches)].map((value, i) => value - theirs[i]!));
}

/** The reference's log-probabilities of all pairs of a file. */
function scoreAll(start: Decoder, pairs: readonly PreferencePair[], options: DpoOptions): Judge {
  const sequences = pairSequences(pairs);
  const sums = sequenceLogps(start, sequences, cut(start, sequences, options));
  return new Map(pairs.map((pair, i) => [pair, [sums[i]!, sums[pairs.length + i]!] as const]));
}

function wantsPrevious({ objective, reference }: DpoOptions): boolean {
  return needsReference(objective) && reference === 'previous';
}

function filePairs({ policy, tokenizer }: Session, path: string): PreferencePair[] {
  const pairs = readPairs(path, tokenizer);
  const { maxPositions } = policy.config;
  const lengths = pairSequences(pairs).map((one) => one.promptIds.length + one.completionIds.length);
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0);
  if (longest <= maxPositions) return pairs;
  const found = `${path}: a completion with its prompt takes ${longest} positions and the model has ${maxPositions}`;
  throw new ReckonError('data', 'too-long', `${found}; leave it out or raise model.init.maxPositions`);
}

async function judgedRollouts(
  session: Session,
  context: TrainContext,
  task: Task,
  options: DpoOptions,
  step: number,
): Promise<ScoredGroup[]> {
  if (options.pairs.from === 'file') return [];
  const groups = await collectStep(
    session,
    context,
    task,
    { ...options.pairs, sampling: options.sampling, total: options.total },
    step,
  );
  return scoreGroups(task, [], groups);
}

function pairsOf(
  group: ScoredGroup,
  task: Task,
  { tokenizer }: Session,
  seed: number,
  step: number,
  source: PairSource,
): PreferencePair[] {
  if (source.from === 'file') return [];
  const rng = new Rng({ seed, purpose: 'pairs', step, id: group.problem.id });
  return source.compare === 'outcome'
    ? outcomePairs(group, source.pairsPerProblem, rng)
    : firstErrorPairs(task, tokenizer, group, source.pairsPerProblem, rng);
}

/** Means over the updates of a step, metric by metric. */
function averaged(records: readonly MetricRecord[]): MetricRecord {
  const names = Object.keys(records[0] ?? {}) as (keyof MetricRecord)[];
  return Object.fromEntries(names.map((name) => [name, mean(records.map((record) => record[name] ?? 0))]));
}
