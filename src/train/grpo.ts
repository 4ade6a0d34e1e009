/**
 * Owns group-relative policy optimization and its relatives, whole: collect, score, advantages, minibatches, loss, step,
 * log, checkpoint (Shao et al. 2024; what tells DAPO, Dr. GRPO, RLOO, GSPO and the others apart is in the options). Knows
 * no recipe and no particular task.
 */

import { samplerDiffers } from '../generate/index.ts';
import {
  type AdaptiveEntropyOptions,
  adaptEntropyCoefficient,
  type ImportanceOptions,
  type LossDenominator,
  lossWeights,
} from '../losses/index.ts';
import { type Decoder, padIdOf, stepsAreExact } from '../models/index.ts';
import { trainableParameters } from '../nn/index.ts';
import { clipGradNorm, type ScheduleOptions } from '../optim/index.ts';
import type { Task } from '../rewards/index.ts';
import type { StageOutcome } from './context.ts';
import { advantagesOfGroups, type GroupAdvantageOptions } from './group-advantages.ts';
import { cutMicroBatches, type MicroBatch } from './micro-batches.ts';
import { minibatchesOf } from './order.ts';
import {
  accumulatePolicyGradient,
  logpsBeforeUpdates,
  type PolicySequence,
  type PolicyUpdateOptions,
  type UpdateSums,
} from './policy-update.ts';
import { requirePromptRoom } from './prompt-room.ts';
import { Reference, type ReferenceOptions } from './reference.ts';
import { type EndedSequence, Replay, type ReplayOptions } from './replay.ts';
import { RewardShaping, type RewardShapingOptions } from './reward-shaping.ts';
import { rolloutLines } from './rollout-lines.ts';
import { rolloutMetrics, updateMetrics } from './rollout-metrics.ts';
import { collectScored, type ScoredOptions } from './scored-rollouts.ts';
import { Session, type SessionOptions, type TrainContext } from './session.ts';

export interface GrpoOptions
  extends Omit<SessionOptions, 'trainer'>,
    ScheduleOptions,
    PolicyUpdateOptions,
    ReferenceOptions,
    GroupAdvantageOptions,
    Partial<Pick<RewardShapingOptions, 'intrinsic' | 'adaptiveWeights'>>,
    ScoredOptions {
  readonly kl: PolicyUpdateOptions['kl'];
  /** `always` weighs every token by trainer over engine, also where they differ by rounding alone (bf16). */
  readonly importance?: ImportanceOptions & { readonly always?: boolean | undefined };
  /** Sequences in one optimizer step. */
  readonly optimizerBatch: number;
  /** Tokens, padding included, in one forward pass; does not change the result beyond rounding. */
  readonly microBatchTokens: number;
  /** Passes over the rollouts of a step. */
  readonly epochs: number;
  readonly maxGradNorm: number;
  readonly lossDenominator: LossDenominator;
  /** Completions that were cut off at the length limit do not count in the loss (DAPO). */
  readonly maskTruncated: boolean;
  /** Temperature of the last step; the first has that of `sampling`. */
  readonly temperatureEnd?: number | undefined;
  /** Between them it moves by the same factor each step (default), or by the same difference. */
  readonly temperatureSchedule?: 'exponential' | 'linear';
  /** Groups of earlier steps are learned from again; null for none. */
  readonly replay?: ReplayOptions | null;
  /** Steers the weight of the entropy bonus, which begins at `entropyCoefficient`; null keeps it. */
  readonly adaptiveEntropy?: AdaptiveEntropyOptions | null;
}

/** Trains the parent's model by reinforcement; resumes from the stage's newest whole checkpoint. */
export async function trainGrpo(
  context: TrainContext,
  task: Task,
  options: GrpoOptions,
): Promise<StageOutcome> {
  const { intrinsic = null, adaptiveWeights = null } = options;
  using session = new Session(context, { ...options, trainer: 'grpo' });
  requirePromptRoom(session, context, task, options);
  using reference = new Reference(session, context, options);
  using shaping = new RewardShaping(session, context, { ...options, intrinsic, adaptiveWeights });
  using rolloutFile = session.jsonl('rollouts/train.jsonl');
  const replay = options.replay ? new Replay(session, options.replay) : null;
  const { policy, optimizer } = session;
  const { vocabulary } = session.engines;
  for (let step = session.startStep + 1; session.goesOn(step); step++) {
    const started = performance.now();
    const sampling = { ...options.sampling, temperature: temperatureAt(step, options) };
    const { temperature } = sampling;
    const collected = await collectScored(session, context, task, { ...options, sampling }, step);
    const rolloutSeconds = (performance.now() - started) / 1000;

    const { groups, weights, dense, metrics } = shaping.shapeGroups(collected.groups);
    const asked = { ...options, temperature, vocabulary };
    const advantaged = advantagesOfGroups(session, groups, weights, reference.model, asked);
    const replayed = replay?.draw(step, context.seed);
    const sequences = [...advantaged.sequences.flat(), ...(replayed?.sequences ?? [])];

    const learningRate = session.learningRate(step, options);
    const minibatches = minibatchesOf(sequences, options, context.seed, step)
      .map((minibatch) => grpoMinibatch(policy, minibatch, options))
      .filter((minibatch) => minibatch.sequences.length > 0);
    // The first update takes its own.
    const isExact = !options.remote && stepsAreExact(policy, sampling.weights);
    const recorded = logpsBeforeUpdates(policy, minibatches.slice(1), temperature, isExact, vocabulary);
    const updates: UpdateSums[] = [];
    for (const [i, minibatch] of minibatches.entries()) {
      const sums = accumulatePolicyGradient({
        policy,
        reference: reference.model,
        ...minibatch,
        oldLogps: recorded[i - 1] ?? null,
        temperature,
        vocabulary,
        truncated: samplerDiffers(sampling) || options.importance?.always === true || Boolean(options.remote),
        loss: lossOptions(session, options),
      });
      const gradNorm = clipGradNorm(trainableParameters(policy).values(), options.maxGradNorm);
      session.requireFinite(step, { loss: sums.loss, gradNorm }, minibatch.sequences);
      optimizer.step(learningRate);
      updates.push({ ...sums, gradNorm });
      steerEntropy(session, sums, options);
    }
    if (updates[0]) session.requireMatch(step, updates[0], sequences, sampling.weights);
    replay?.add(step, advantaged.sequences);
    reference.follow(policy, step);

    const seconds = (performance.now() - started) / 1000;
    const { advantages } = advantaged.summary;
    const learned = updateMetrics(updates);
    const tokens = dense ? { kind: 'reward' as const, values: dense } : advantaged.tokens;
    rolloutFile.append(...rolloutLines(step, groups, { advantages, tokens }));
    const stop = await session.finishStep(step, {
      learning_rate: learningRate,
      ...rolloutMetrics(groups, advantaged.summary, advantaged.tokens?.values),
      ...metrics,
      ...learned,
      ...(options.maxDraws > 1 ? { 'rollouts/draws': collected.draws } : {}),
      ...(replayed
        ? { 'rollouts/replayed': replayed.sequences.length, 'rollouts/replay_age': replayed.age }
        : {}),
      ...(options.adaptiveEntropy
        ? { 'policy/entropy_coefficient': entropyControl(session, options).coefficient }
        : {}),
      'time/step_s': seconds,
      'time/rollout_s': rolloutSeconds,
      'time/update_s': seconds - rolloutSeconds,
      'perf/tokens_per_s': learned['batch/tokens'] / seconds,
    });
    if (stop) return session.end('stopped');
  }
  return session.end('done');
}

/** The sequences of one optimizer step, what their token losses are multiplied with, and their micro-batches. */
export interface GrpoMinibatch {
  readonly sequences: readonly PolicySequence[];
  readonly weights: readonly number[];
  readonly batches: readonly MicroBatch[];
}

/** A minibatch without what does not count, which the denominators still know of: length 0 in their place. */
export function grpoMinibatch(
  policy: Decoder,
  minibatch: readonly EndedSequence[],
  options: Pick<GrpoOptions, 'maskTruncated' | 'lossDenominator' | 'sampling' | 'microBatchTokens'>,
): GrpoMinibatch {
  const { maskTruncated, lossDenominator, sampling, microBatchTokens } = options;
  const counts = minibatch.map((one) => !(maskTruncated && one.stopReason === 'length'));
  const lengths = minibatch.map((one, i) => (counts[i] ? one.completionIds.length : 0));
  const weights = lossWeights(lengths, lossDenominator, sampling.maxCompletionTokens);
  const sequences = minibatch.filter((_, i) => counts[i]);
  return {
    sequences,
    weights: weights.filter((_, i) => counts[i]),
    batches: cutMicroBatches(sequences, microBatchTokens, padIdOf(policy)),
  };
}

/** The loss of the next update: without the KL where the reward has it, with the entropy bonus as it is steered. */
function lossOptions(session: Session, options: GrpoOptions): PolicyUpdateOptions {
  const kl = options.klPlace === 'loss' ? options.kl : { ...options.kl, beta: 0 };
  if (!options.adaptiveEntropy) return { ...options, kl };
  const { coefficient, counts } = entropyControl(session, options);
  return { ...options, kl, entropyCoefficient: counts ? coefficient : 0 };
}

type EntropyControl = ReturnType<typeof adaptEntropyCoefficient>;

/** The weight of the entropy bonus as the last update left it; before the first there is no bonus. */
function entropyControl(
  { extra }: Session,
  { entropyCoefficient = 0 }: Pick<GrpoOptions, 'entropyCoefficient'>,
): EntropyControl {
  const known = extra['entropyControl'] as EntropyControl | undefined;
  return known ?? { coefficient: entropyCoefficient, counts: false };
}

function steerEntropy(session: Session, { entropy, targets }: UpdateSums, options: GrpoOptions): void {
  if (!options.adaptiveEntropy) return;
  const { coefficient } = entropyControl(session, options);
  const moved = adaptEntropyCoefficient(coefficient, entropy / targets, options.adaptiveEntropy);
  session.extra['entropyControl'] = moved;
}

/** The sampling temperature of a step. */
export function temperatureAt(
  step: number,
  {
    sampling: { temperature: start },
    temperatureEnd: end,
    temperatureSchedule: schedule = 'exponential',
    steps,
  }: Pick<GrpoOptions, 'sampling' | 'temperatureEnd' | 'temperatureSchedule' | 'steps'>,
): number {
  if (end === undefined || steps === 1) return start;
  const share = (step - 1) / (steps - 1);
  return schedule === 'linear' ? start + (end - start) * share : start * (end / start) ** share;
}
