/**
 * Owns group-relative policy optimization, whole: collect, score, advantages, minibatches, loss, step, log, checkpoint
 * (Shao et al. 2024, with the switches of DAPO and Dr. GRPO as options). Knows no recipe and no particular task.
 */

import { type GroupAdvantageOptions, groupAdvantages } from '../advantages/index.ts';
import { type LossDenominator, lossWeights, type PolicyGradientOptions } from '../losses/index.ts';
import type { Decoder } from '../models/index.ts';
import { trainableParameters } from '../nn/index.ts';
import { clipGradNorm, learningRateAt, type ScheduleOptions } from '../optim/index.ts';
import { type Reward, scoreGroups, type Task } from '../rewards/index.ts';
import { collectStep, type RolloutSampling } from './collect.ts';
import type { StageOutcome } from './context.ts';
import { cutMicroBatches } from './micro-batches.ts';
import { minibatchesOf } from './order.ts';
import {
  accumulatePolicyGradient,
  type PolicySequence,
  recordedLogps,
  type UpdateSums,
} from './policy-update.ts';
import { rolloutLine, rolloutMetrics, updateMetrics } from './rollout-metrics.ts';
import { Session, type SessionOptions, type TrainContext } from './session.ts';

export interface GrpoOptions extends Omit<SessionOptions, 'trainer'>, ScheduleOptions, PolicyGradientOptions {
  readonly promptsPerStep: number;
  readonly groupSize: number;
  /** Sequences in one optimizer step. */
  readonly optimizerBatch: number;
  /** Tokens, padding included, in one forward pass; does not change the result beyond rounding. */
  readonly microBatchTokens: number;
  /** Passes over the rollouts of a step. */
  readonly epochs: number;
  readonly maxGradNorm: number;
  readonly advantages: GroupAdvantageOptions;
  readonly lossDenominator: LossDenominator;
  /** The explicit reference policy: none, or the model that the stage began with. */
  readonly reference: 'none' | 'start';
  readonly rewards: readonly Reward[];
  readonly sampling: RolloutSampling;
}

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
  for (let step = session.startStep + 1; step <= options.steps; step++) {
    const started = performance.now();
    const groups = await collectStep(session, context, task, options, step);
    const scored = scoreGroups(task, options.rewards, groups);
    const rolloutSeconds = (performance.now() - started) / 1000;

    const rewards = scored.map((group) => group.scored.map((one) => one.reward));
    const advantages = groupAdvantages(rewards, options.advantages);
    const sequences = scored.flatMap((group, g) =>
      group.scored.map(
        (one, i): PolicySequence => ({ ...one.rollout, advantage: advantages.advantages[g]![i]! }),
      ),
    );

    const learningRate = learningRateAt(step, options);
    const minibatches = minibatchesOf(sequences, options, context.seed, step);
    const recorded = minibatches.length > 1 ? recordOld(policy, minibatches, options) : null;
    const updates: UpdateSums[] = [];
    for (const [i, minibatch] of minibatches.entries()) {
      const batches = cutMicroBatches(minibatch, options.microBatchTokens, policy.config.padTokenId ?? 0);
      const weights = lossWeights(
        minibatch.map((sequence) => sequence.completionIds.length),
        options.lossDenominator,
        options.sampling.maxCompletionTokens,
      );
      const sums = accumulatePolicyGradient({
        policy,
        reference,
        sequences: minibatch,
        batches,
        weights,
        oldLogps: recorded?.[i] ?? null,
        temperature: options.sampling.temperature,
        truncated: options.sampling.topP < 1,
        loss: options,
      });
      const gradNorm = clipGradNorm(trainableParameters(policy).values(), options.maxGradNorm);
      session.requireFinite(step, { loss: sums.loss, gradNorm }, minibatch);
      optimizer.step(learningRate);
      updates.push({ ...sums, gradNorm });
    }
    session.requireMatch(step, updates[0]!, sequences);

    const seconds = (performance.now() - started) / 1000;
    rolloutFile.append(...scored.flatMap((group, g) => rolloutLine(step, group, advantages.advantages[g]!)));
    const stop = await session.finishStep(step, {
      learning_rate: learningRate,
      ...rolloutMetrics(scored, advantages),
      ...updateMetrics(updates),
      'time/step_s': seconds,
      'time/rollout_s': rolloutSeconds,
      'time/update_s': seconds - rolloutSeconds,
      'perf/tokens_per_s': updates[0]!.tokens / seconds,
    });
    if (stop) return session.end('stopped');
  }
  return session.end('done');
}

/** Log-probabilities of every minibatch before the first update, cut as the update will be, so that ratios begin at 1. */
function recordOld(
  policy: Decoder,
  minibatches: readonly PolicySequence[][],
  options: GrpoOptions,
): Float32Array[][] {
  return minibatches.map((minibatch) =>
    recordedLogps(
      policy,
      cutMicroBatches(minibatch, options.microBatchTokens, policy.config.padTokenId ?? 0),
      options.sampling.temperature,
    ),
  );
}
