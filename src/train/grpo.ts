/**
 * Owns group-relative policy optimization and its relatives, whole: collect, score, advantages, minibatches, loss, step,
 * log, checkpoint (Shao et al. 2024; what tells DAPO, Dr. GRPO, RLOO, GSPO and the others apart is in the options). Knows
 * no recipe and no particular task.
 */

import {
  type AdvantageOptions,
  estimateAdvantages,
  type GroupAdvantages,
  type RunningState,
} from '../advantages/index.ts';
import { type LossDenominator, lossWeights } from '../losses/index.ts';
import type { Decoder } from '../models/index.ts';
import { trainableParameters } from '../nn/index.ts';
import { clipGradNorm, type ScheduleOptions } from '../optim/index.ts';
import type { ScoredGroup, Task } from '../rewards/index.ts';
import type { Rollout } from '../rollouts/index.ts';
import type { StageOutcome } from './context.ts';
import { cutMicroBatches, padIdOf } from './micro-batches.ts';
import { minibatchesOf } from './order.ts';
import {
  accumulatePolicyGradient,
  type PolicySequence,
  type PolicyUpdateOptions,
  recordedLogps,
  type UpdateSums,
} from './policy-update.ts';
import { rolloutLine, rolloutMetrics, updateMetrics } from './rollout-metrics.ts';
import { collectScored, penalised, rewardBatch, type ScoredOptions } from './scored-rollouts.ts';
import { Session, type SessionOptions, type TrainContext } from './session.ts';

export interface GrpoOptions
  extends Omit<SessionOptions, 'trainer'>,
    ScheduleOptions,
    PolicyUpdateOptions,
    ScoredOptions {
  /** Sequences in one optimizer step. */
  readonly optimizerBatch: number;
  /** Tokens, padding included, in one forward pass; does not change the result beyond rounding. */
  readonly microBatchTokens: number;
  /** Passes over the rollouts of a step. */
  readonly epochs: number;
  readonly maxGradNorm: number;
  readonly advantages: AdvantageOptions;
  readonly lossDenominator: LossDenominator;
  /** The explicit reference policy: none, or the model that the stage began with. */
  readonly reference: 'none' | 'start';
  /** Subtracts the KL term from the reward instead of adding it to the loss. */
  readonly klInReward: boolean;
  /** Completions that were cut off at the length limit do not count in the loss (DAPO). */
  readonly maskTruncated: boolean;
  /** Temperature of the last step; from the first it falls or rises by the same factor each step. */
  readonly temperatureEnd?: number | undefined;
}

/** A rollout that says why it ended, with its advantage. */
type EndedSequence = PolicySequence & Pick<Rollout, 'stopReason'>;

/** Trains the parent's model by reinforcement; resumes from the stage's newest whole checkpoint. */
export async function trainGrpo(
  context: TrainContext,
  task: Task,
  options: GrpoOptions,
): Promise<StageOutcome> {
  using session = new Session(context, { ...options, trainer: 'grpo' });
  using reference = options.reference === 'start' ? session.startReference() : null;
  using rolloutFile = session.jsonl('rollouts/train.jsonl');
  const { policy, optimizer } = session;
  const loss = options.klInReward ? { ...options, kl: { ...options.kl, beta: 0 } } : options;
  for (let step = session.startStep + 1; session.goesOn(step); step++) {
    const started = performance.now();
    const sampling = { ...options.sampling, temperature: temperatureAt(step, options) };
    const { groups, draws } = await collectScored(session, context, task, { ...options, sampling }, step);
    const rolloutSeconds = (performance.now() - started) / 1000;

    const advantages = advantagesOf(session, groups, reference, options, sampling.temperature);
    const sequences = groups.flatMap((group, g) =>
      group.scored.map(
        (one, i): EndedSequence => ({ ...one.rollout, advantage: advantages.advantages[g]![i]! }),
      ),
    );

    const learningRate = session.learningRate(step, options);
    const minibatches = minibatchesOf(sequences, options, context.seed, step).map((minibatch) =>
      weighted(minibatch, options),
    );
    const cut = (minibatch: readonly PolicySequence[]) =>
      cutMicroBatches(minibatch, options.microBatchTokens, padIdOf(policy));
    // Cut as the update will be, so that ratios begin at 1.
    const recorded =
      minibatches.length > 1
        ? minibatches.map((one) => recordedLogps(policy, cut(one.sequences), sampling.temperature))
        : null;
    const updates: UpdateSums[] = [];
    for (const [i, minibatch] of minibatches.entries()) {
      if (minibatch.sequences.length === 0) continue;
      const sums = accumulatePolicyGradient({
        policy,
        reference,
        ...minibatch,
        batches: cut(minibatch.sequences),
        oldLogps: recorded?.[i] ?? null,
        temperature: sampling.temperature,
        truncated: sampling.topP < 1,
        loss,
      });
      const gradNorm = clipGradNorm(trainableParameters(policy).values(), options.maxGradNorm);
      session.requireFinite(step, { loss: sums.loss, gradNorm }, minibatch.sequences);
      optimizer.step(learningRate);
      updates.push({ ...sums, gradNorm });
    }
    if (updates[0]) session.requireMatch(step, updates[0], sequences);

    const seconds = (performance.now() - started) / 1000;
    rolloutFile.append(...groups.flatMap((group, g) => rolloutLine(step, group, advantages.advantages[g]!)));
    const tokens = updates[0]?.tokens ?? 0;
    const stop = await session.finishStep(step, {
      learning_rate: learningRate,
      ...rolloutMetrics(groups, advantages),
      ...updateMetrics(updates),
      ...(options.maxDraws > 1 ? { 'rollouts/draws': draws } : {}),
      'time/step_s': seconds,
      'time/rollout_s': rolloutSeconds,
      'time/update_s': seconds - rolloutSeconds,
      'perf/tokens_per_s': tokens / seconds,
    });
    if (stop) return session.end('stopped');
  }
  return session.end('done');
}

function advantagesOf(
  session: Session,
  groups: readonly ScoredGroup[],
  reference: Decoder | null,
  options: GrpoOptions,
  temperature: number,
): GroupAdvantages {
  const batch = rewardBatch(groups, options.rewards);
  const { beta } = options.kl;
  const totals =
    options.klInReward && reference && beta !== 0
      ? penalised(batch.totals, groups, session.policy, reference, { ...options, beta, temperature })
      : batch.totals;
  const before = (session.extra['running'] ?? null) as RunningState | null;
  const found = estimateAdvantages({ ...batch, totals }, options.advantages, before);
  if (found.running) session.extra['running'] = found.running;
  return found;
}

/** A minibatch without what does not count, which the denominators still know of: length 0 in their place. */
function weighted(
  minibatch: readonly EndedSequence[],
  { maskTruncated, lossDenominator, sampling }: GrpoOptions,
): { readonly sequences: PolicySequence[]; readonly weights: number[] } {
  const counts = minibatch.map((one) => !(maskTruncated && one.stopReason === 'length'));
  const lengths = minibatch.map((one, i) => (counts[i] ? one.completionIds.length : 0));
  const weights = lossWeights(lengths, lossDenominator, sampling.maxCompletionTokens);
  return {
    sequences: minibatch.filter((_, i) => counts[i]),
    weights: weights.filter((_, i) => counts[i]),
  };
}

function temperatureAt(step: number, { sampling, temperatureEnd, steps }: GrpoOptions): number {
  if (temperatureEnd === undefined || steps === 1) return sampling.temperature;
  return sampling.temperature * (temperatureEnd / sampling.temperature) ** ((step - 1) / (steps - 1));
}
