/**
 * Owns proximal policy optimisation, whole: collect, score, a reward and an advantage for every token, epochs of clipped
 * policy and value updates, log, checkpoint (Schulman et al. 2017; Ziegler et al. 2019 for language models). Knows no
 * recipe and no particular task.
 */

import { lossWeights } from '../losses/index.ts';
import { trainableParameters } from '../nn/index.ts';
import { clipGradNorm, learningRateAt, type ScheduleOptions } from '../optim/index.ts';
import type { Task } from '../rewards/index.ts';
import type { MetricRecord } from '../track/index.ts';
import { mean } from '../util/statistics.ts';
import type { StageOutcome } from './context.ts';
import { accumulateValueGradient, Critic, explainedVariance, type ValueSums, valueTerm } from './critic.ts';
import { type Experience, type ExperienceOptions, experienceOf, observe } from './experience.ts';
import { type KlControlOptions, nextKlCoefficient } from './kl-controller.ts';
import { cutMicroBatches, gathered, type MicroBatch } from './micro-batches.ts';
import { minibatchesOf } from './order.ts';
import { accumulatePolicyGradient, type PolicyUpdate, type UpdateSums } from './policy-update.ts';
import { rewardMetrics, rolloutLine, updateMetrics } from './rollout-metrics.ts';
import { collectScored, type ScoredOptions } from './scored-rollouts.ts';
import { Session, type SessionOptions, type TrainContext } from './session.ts';

export interface PpoOptions
  extends Omit<SessionOptions, 'trainer'>,
    ScheduleOptions,
    ExperienceOptions,
    Omit<ScoredOptions, 'maxDraws'> {
  /** Sequences in one optimizer step. */
  readonly optimizerBatch: number;
  /** Tokens, padding included, in one forward pass; does not change the result beyond rounding. */
  readonly microBatchTokens: number;
  /** Passes over the rollouts of a step. */
  readonly epochs: number;
  readonly maxGradNorm: number;
  readonly clip: { readonly low: number; readonly high: number };
  /** A value moves at most this far from the one before the step's updates; null for no bound. */
  readonly valueClip: number | null;
  /** Weight of the value loss beside the policy loss. */
  readonly valueCoefficient: number;
  /** Peak learning rate of the value head over that of the policy. */
  readonly valueRateRatio: number;
  /** Steps at the beginning that teach the value head alone. */
  readonly valuePretrainingSteps: number;
  readonly entropyCoefficient: number;
  /** The explicit reference policy: none, or the model that the stage began with. */
  readonly reference: 'none' | 'start';
  readonly klControl: KlControlOptions;
}

/** Trains the parent's model by reinforcement; resumes from the stage's newest whole checkpoint. */
export async function trainPpo(
  context: TrainContext,
  task: Task,
  options: PpoOptions,
): Promise<StageOutcome> {
  using session = new Session(context, { ...options, trainer: 'ppo' });
  using critic = new Critic(session, { ...options, trainer: 'ppo' });
  using reference = options.reference === 'start' ? session.startReference() : null;
  using rolloutFile = session.jsonl('rollouts/train.jsonl');
  const { policy, optimizer } = session;
  const { head } = critic;
  const { temperature } = options.sampling;
  const observers = { policy, head, reference, temperature, microBatchTokens: options.microBatchTokens };
  for (let step = session.startStep + 1; step <= options.steps; step++) {
    const started = performance.now();
    const { groups } = await collectScored(session, context, task, { ...options, maxDraws: 1 }, step);
    const scored = groups.flatMap((group) => group.scored);
    const rollouts = scored.map((one) => one.rollout);
    const rolloutSeconds = (performance.now() - started) / 1000;

    const minibatches = minibatchesOf([...rollouts.keys()], options, context.seed, step);
    const firstEpoch = minibatches.slice(0, minibatches.length / options.epochs);
    const observations = observe(observers, rollouts, firstEpoch, options.klEstimator);
    const klCoefficient = Number(session.extra['klCoefficient'] ?? options.klControl.coefficient);
    const scores = scored.map((one) => one.reward);
    const experience = experienceOf(rollouts, observations, scores, null, klCoefficient, options);

    const learningRate = learningRateAt(step, options);
    const pretraining = step <= options.valuePretrainingSteps;
    const updates: UpdateSums[] = [];
    const valueSums: ValueSums = { loss: 0, clipped: 0, tokens: 0 };
    for (const places of minibatches) {
      const sequences = places.map((i) => experience[i]!);
      const batches = cutMicroBatches(sequences, options.microBatchTokens, policy.config.padTokenId ?? 0);
      const update = { policy, head, sequences, batches, options, valueSums };
      const sums = pretraining ? valueUpdate(update) : policyUpdate(update);
      const gradNorm = clipGradNorm(
        [...trainableParameters(policy).values(), ...head.stateDict().values()],
        options.maxGradNorm,
      );
      session.requireFinite(step, { loss: sums.loss, gradNorm }, sequences);
      if (!pretraining) optimizer.step(learningRate);
      critic.step(learningRate * options.valueRateRatio);
      updates.push({ ...sums, gradNorm });
    }
    if (!pretraining) session.requireMatch(step, updates[0]!, rollouts);
    const kl = klOfCompletions(experience);
    if (kl !== null)
      session.extra['klCoefficient'] = nextKlCoefficient(
        klCoefficient,
        kl,
        rollouts.length,
        options.klControl,
      );

    const seconds = (performance.now() - started) / 1000;
    rolloutFile.append(...groups.flatMap((group) => rolloutLine(step, group, null)));
    const measured = pretraining ? {} : updateMetrics(updates);
    const tokens = updates[0]!.tokens;
    const stop = await session.finishStep(step, {
      learning_rate: learningRate,
      ...rewardMetrics(groups, options.rewards),
      ...updateMetrics(updates),
      ...ppoMetrics(experience, valueSums, klCoefficient),
      'time/step_s': seconds,
      'time/rollout_s': rolloutSeconds,
      'time/update_s': seconds - rolloutSeconds,
      'perf/tokens_per_s': tokens / seconds,
    });
    if (stop) return session.end('stopped');
  }
  return session.end('done');
}
