/**
 * Owns proximal policy optimisation, whole: collect, score, a reward and an advantage for every token, epochs of clipped
 * policy and value updates, log, checkpoint (Schulman et al. 2017; Ziegler et al. 2019 for language models). Knows no
 * recipe and no particular task.
 */

import { groupAdvantages } from '../advantages/index.ts';
import { samplerDiffers } from '../generate/index.ts';
import { lossWeights } from '../losses/index.ts';
import { type Decoder, padIdOf, type ValueHead } from '../models/index.ts';
import { trainableParameters } from '../nn/index.ts';
import { clipGradNorm, type ScheduleOptions } from '../optim/index.ts';
import type { ScoredGroup, Task } from '../rewards/index.ts';
import type { Tensor } from '../torch/index.ts';
import type { MetricRecord } from '../track/index.ts';
import { mean } from '../util/statistics.ts';
import type { StageOutcome } from './context.ts';
import { accumulateValueGradient, Critic, explainedVariance, type ValueSums, valueTerm } from './critic.ts';
import { type Experience, type ExperienceOptions, experienceOf, observe } from './experience.ts';
import { type KlControlOptions, nextKlCoefficient } from './kl-controller.ts';
import { cutMicroBatches, gathered, type MicroBatch, paddingShare } from './micro-batches.ts';
import { minibatchesOf } from './order.ts';
import { accumulatePolicyGradient, type UpdateSums } from './policy-update.ts';
import { requirePromptRoom } from './prompt-room.ts';
import { Reference, type ReferenceOptions } from './reference.ts';
import { RewardShaping, type RewardShapingOptions } from './reward-shaping.ts';
import { rolloutLines } from './rollout-lines.ts';
import { rolloutMetrics, updateMetrics } from './rollout-metrics.ts';
import { collectScored, type ScoredOptions } from './scored-rollouts.ts';
import { Session, type SessionOptions, type TrainContext } from './session.ts';

export interface PpoOptions
  extends Omit<SessionOptions, 'trainer'>,
    ScheduleOptions,
    ExperienceOptions,
    ReferenceOptions,
    Pick<RewardShapingOptions, 'intrinsic' | 'adaptiveWeights'>,
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
  /** `trunk`, `start` or a folder, as in `CriticOptions`; a value model apart has its own gradient norm. */
  readonly valueModel?: string;
  readonly klControl: KlControlOptions;
}

/** Trains the parent's model by reinforcement; resumes from the stage's newest whole checkpoint. */
export async function trainPpo(
  context: TrainContext,
  task: Task,
  options: PpoOptions,
): Promise<StageOutcome> {
  using session = new Session(context, { ...options, trainer: 'ppo' });
  requirePromptRoom(session, context, task, options);
  const { valueModel = 'trunk' } = options;
  using critic = new Critic(session, context, { ...options, valueModel, trainer: 'ppo' });
  using shaping = new RewardShaping(session, context, options);
  using reference = new Reference(session, context, options);
  using rolloutFile = session.jsonl('rollouts/train.jsonl');
  const { policy, optimizer } = session;
  const { vocabulary } = session.engines;
  const { head, trunk } = critic;
  const { microBatchTokens, sampling } = options;
  const { temperature } = sampling;
  for (let step = session.startStep + 1; session.goesOn(step); step++) {
    const started = performance.now();
    const { groups } = await collectScored(session, context, task, { ...options, maxDraws: 1 }, step);
    const scored = groups.flatMap((group) => group.scored);
    const rollouts = scored.map((one) => one.rollout);
    const rolloutSeconds = (performance.now() - started) / 1000;

    const minibatches = minibatchesOf([...rollouts.keys()], options, context.seed, step);
    const firstEpoch = minibatches.slice(0, minibatches.length / options.epochs);
    const models = { policy, head, trunk, reference: reference.model };
    const observers = { ...models, temperature, vocabulary, microBatchTokens };
    const observations = observe(observers, rollouts, firstEpoch, options);
    const klCoefficient = Number(session.extra['klCoefficient'] ?? options.klControl.coefficient);
    const { scores, dense, metrics } = shaping.shape(scored);
    const experience = experienceOf(rollouts, observations, scores, dense, klCoefficient, options);

    const learningRate = session.learningRate(step, options);
    const pretraining = step <= options.valuePretrainingSteps;
    const updates: PpoSums[] = [];
    for (const places of minibatches) {
      const sequences = places.map((i) => experience[i]!);
      const batches = cutMicroBatches(sequences, microBatchTokens, padIdOf(policy));
      const update = { policy, vocabulary, head, trunk, sequences, batches, options };
      const sums = pretraining ? accumulateValue(update) : accumulatePpo(update);
      const gradNorm = clipBoth(policy, critic, pretraining, options.maxGradNorm);
      session.requireFinite(step, { loss: sums.loss, gradNorm }, sequences);
      if (!pretraining) optimizer.step(learningRate);
      critic.step(learningRate * options.valueRateRatio);
      updates.push({ ...sums, gradNorm });
    }
    reference.follow(policy, step);
    const { policySums } = updates[0]!;
    if (policySums) session.requireMatch(step, policySums, rollouts, sampling.weights);
    const kl = klOfCompletions(experience);
    // While the policy stands still there is nothing to steer.
    if (kl !== null && !pretraining)
      session.extra['klCoefficient'] = nextKlCoefficient(
        klCoefficient,
        kl,
        rollouts.length,
        options.klControl,
      );

    const seconds = (performance.now() - started) / 1000;
    const learned = ppoMetrics(updates, experience);
    const tokens = dense && { kind: 'reward' as const, values: dense };
    rolloutFile.append(...rolloutLines(step, groups, { tokens }));
    const stop = await session.finishStep(step, {
      learning_rate: learningRate,
      ...scoreMetrics(groups, experience),
      ...metrics,
      ...learned,
      'policy/kl_coefficient': reference.model ? klCoefficient : null,
      'time/step_s': seconds,
      'time/rollout_s': rolloutSeconds,
      'time/update_s': seconds - rolloutSeconds,
      'perf/tokens_per_s': learned['batch/tokens'] / seconds,
    });
    if (stop) return session.end('stopped');
  }
  return session.end('done');
}

/**
 * Clips the gradient of policy and value head together, or of a value model apart by itself; the norm of what the policy
 * learns from, or of the values' while they alone are learned.
 */
function clipBoth(policy: Decoder, critic: Critic, pretraining: boolean, most: number): number {
  const ours = [...trainableParameters(policy).values()];
  const theirs = [...critic.parameters().values()];
  if (!critic.trunk) return clipGradNorm([...ours, ...theirs], most);
  const values = clipGradNorm(theirs, most);
  return pretraining || !Number.isFinite(values) ? values : clipGradNorm(ours, most);
}

interface PpoUpdate {
  readonly policy: Decoder;
  readonly vocabulary?: number;
  readonly head: ValueHead;
  /** What the head reads, where that is not the policy. */
  readonly trunk?: Decoder | null;
  readonly sequences: readonly Experience[];
  readonly batches: readonly MicroBatch[];
  readonly options: Pick<
    PpoOptions,
    'clip' | 'entropyCoefficient' | 'valueClip' | 'valueCoefficient' | 'sampling' | 'remote'
  >;
}

/** How one optimizer batch went; `policySums` is null where the value head alone learned. */
interface PpoSums {
  readonly loss: number;
  readonly gradNorm: number;
  readonly tokens: number;
  readonly targets: number;
  readonly paddingShare: number;
  readonly value: ValueSums;
  readonly policySums: UpdateSums | null;
}

/** Accumulates the gradient of one optimizer batch: clipped policy loss, entropy bonus and clipped value loss. */
export function accumulatePpo(update: PpoUpdate): PpoSums {
  const { policy, vocabulary, head, trunk, sequences, batches, options } = update;
  const { clip, entropyCoefficient, valueClip, valueCoefficient, sampling, remote } = options;
  const lengths = sequences.map((one) => one.completionIds.length);
  const tokens = lengths.reduce((sum, length) => sum + length, 0);
  const shared: ValueSums = { loss: 0, clipped: 0 };
  const alsoLoss = (hidden_ND: Tensor, place: number) =>
    valueTerm(head, hidden_ND, batches[place]!, sequences, { clip: valueClip, tokens, sums: shared }).mul(
      valueCoefficient,
    );
  const sums = accumulatePolicyGradient({
    policy,
    reference: null,
    sequences,
    batches,
    weights: lossWeights(lengths, 'tokens', sampling.maxCompletionTokens),
    oldLogps: batches.map((batch) => gathered(batch, sequences, (one) => one.oldLogps)),
    temperature: sampling.temperature,
    vocabulary,
    truncated: samplerDiffers(sampling) || Boolean(remote),
    loss: { clip, kl: { beta: 0, estimator: 'k1' }, entropyCoefficient },
    ...(trunk ? {} : { alsoLoss }),
  });
  const value = trunk ? accumulateValueGradient(trunk, head, batches, sequences, valueClip, true) : shared;
  return { ...sums, value, policySums: sums };
}

/** The same of the value loss alone, into the value function alone. */
function accumulateValue({ policy, head, trunk, sequences, batches, options }: PpoUpdate): PpoSums {
  const value = accumulateValueGradient(
    trunk ?? policy,
    head,
    batches,
    sequences,
    options.valueClip,
    Boolean(trunk),
  );
  const targets = batches.reduce((sum, batch) => sum + batch.targets.length, 0);
  return {
    loss: value.loss / targets,
    gradNorm: 0,
    tokens: batches.reduce((sum, batch) => sum + batch.tokens, 0),
    targets,
    paddingShare: paddingShare(batches),
    value,
    policySums: null,
  };
}

/** Mean over completions of the KL to the reference, summed over tokens; null without a reference. */
function klOfCompletions(experience: readonly Experience[]): number | null {
  const sums = experience.map(({ kl }) => kl?.reduce((sum, value) => sum + value, 0));
  return sums.every((sum) => sum !== undefined) ? mean(sums) : null;
}

function scoreMetrics(groups: readonly ScoredGroup[], experience: readonly Experience[]): MetricRecord {
  const rewards = groups.map(({ scored }) => scored.map((one) => one.reward));
  return {
    ...rolloutMetrics(groups, groupAdvantages(rewards, { scale: 'none' })),
    'advantage/abs_mean': mean(experience.flatMap((one) => one.tokenAdvantages.map(Math.abs))),
  };
}

function ppoMetrics(
  updates: readonly PpoSums[],
  experience: readonly Experience[],
): MetricRecord & { readonly 'batch/tokens': number } {
  const policySums = updates.map((one) => one.policySums).filter((one) => one !== null);
  const targets = updates.reduce((sum, one) => sum + one.targets, 0);
  const values = experience.flatMap((one) => one.values);
  const kl = experience.flatMap((one) => one.kl ?? []);
  return {
    ...(policySums.length > 0 ? updateMetrics(policySums) : {}),
    loss: mean(updates.map((one) => one.loss)),
    grad_norm: mean(updates.map((one) => one.gradNorm)),
    'policy/kl': kl.length > 0 ? mean(kl) : null,
    'value/loss': updates.reduce((sum, one) => sum + one.value.loss, 0) / targets,
    'value/clip_fraction': updates.reduce((sum, one) => sum + one.value.clipped, 0) / targets,
    'value/mean': mean(values),
    'value/return_mean': mean(experience.flatMap((one) => one.returns)),
    'value/explained_variance': explainedVariance(experience),
    'batch/tokens': updates.reduce((sum, one) => sum + one.tokens, 0),
    'batch/padding_share': mean(updates.map((one) => one.paddingShare)),
  };
}
