/**
 * Owns distillation, whole: sequences of the student, of the teacher or of demonstrations, the teacher's say on every
 * token, loss, step, log, checkpoint (GKD, Agarwal et al. 2024; on-policy distillation by log-ratios; sequence-level
 * distillation, Kim and Rush 2016). Knows no recipe and no particular task.
 */

import { join } from 'node:path';
import { samplerDiffers } from '../generate/index.ts';
import {
  backwardThroughDivergence,
  backwardThroughLogps,
  importanceWeights,
  policyGradientLoss,
  type TokenLogpOptions,
  tokenLogps,
} from '../losses/index.ts';
import { type Decoder, padIdOf } from '../models/index.ts';
import { trainableParameters } from '../nn/index.ts';
import { clipGradNorm, type ScheduleOptions } from '../optim/index.ts';
import { type ScoredGroup, scoreGroups, type Task } from '../rewards/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { fromBytes, full, noGrad, scope, type Tensor } from '../torch/index.ts';
import { Rng } from '../util/rng.ts';
import { collectStep, type RolloutSampling } from './collect.ts';
import type { StageOutcome } from './context.ts';
import { accumulateCrossEntropy } from './cross-entropy.ts';
import { demonstrationBatches, requireDemonstrationRoom } from './demonstrations.ts';
import { Generations } from './generations.ts';
import {
  cutMicroBatches,
  gathered,
  type MicroBatch,
  paddingShare,
  predictingStates,
  scattered,
  type TrainingSequence,
  trainingStates,
} from './micro-batches.ts';
import { defaultImportance } from './policy-update.ts';
import { requirePromptRoom } from './prompt-room.ts';
import { rolloutLines } from './rollout-lines.ts';
import { judgementMetrics } from './rollout-metrics.ts';
import { Session, type SessionOptions, type TrainContext } from './session.ts';
import { loadTeacher, sharedVocabulary, teacherFingerprint } from './teacher.ts';

/** Who made the sequences of a step. */
export type DistillationData = 'student' | 'teacher' | 'demonstrations';

export interface DistillOptions extends Omit<SessionOptions, 'trainer'>, ScheduleOptions {
  /** A model folder; its tokenizer must be the student's. */
  readonly teacher: string;
  /** Where the teacher computes; the run's device by default. */
  readonly teacherDevice?: string | undefined;
  /**
   * `divergence` matches whole next-token distributions, `log-ratio` takes log(teacher / student) of each sampled token
   * as its advantage, `sequence` is cross-entropy.
   */
  readonly objective: 'divergence' | 'log-ratio' | 'sequence';
  /** Of the divergence: 0 forward KL, 1 reverse KL, between them the generalised JSD. */
  readonly beta: number;
  /** Softens both distributions in the divergence. */
  readonly softening: number;
  /** Share of steps whose sequences the student samples itself (GKD's lambda). */
  readonly onPolicyShare: number;
  /** Who makes the sequences of the other steps. */
  readonly offPolicyData: Exclude<DistillationData, 'student'>;
  /**
   * The teacher's completions of a prompt are sampled once and read again, from `file` or from one in the stage's folder;
   * null samples them anew at every visit.
   */
  readonly generations: { readonly file?: string | undefined } | null;
  readonly promptsPerStep: number;
  readonly groupSize: number;
  /** Tokens, padding included, in one forward pass; does not change the result beyond rounding. */
  readonly microBatchTokens: number;
  readonly maxGradNorm: number;
  readonly sampling: RolloutSampling;
}

/** Trains the parent's model towards a teacher; a step is one optimizer batch of `promptsPerStep` x `groupSize`. */
export async function trainDistill(
  context: TrainContext,
  task: Task,
  options: DistillOptions,
): Promise<StageOutcome> {
  using session = new Session(context, { ...options, trainer: 'distill' });
  using rolloutFile = session.jsonl('rollouts/train.jsonl');
  const { policy, tokenizer, optimizer } = session;
  const { compute } = context;
  const device = options.teacherDevice ?? compute.device;
  using teacher = loadTeacher({ ...context, compute: { ...compute, device } }, options.teacher, tokenizer);
  if (options.onPolicyShare > 0 || options.offPolicyData !== 'demonstrations')
    requirePromptRoom(session, context, task, { ...options, alsoPositions: teacher.config.maxPositions });
  const vocabulary = sharedVocabulary(policy, teacher, tokenizer);
  using kept = keptGenerations(context, teacher, tokenizer, options);
  const count = options.promptsPerStep * options.groupSize;
  const maxPositions = Math.min(policy.config.maxPositions, teacher.config.maxPositions);
  const source = { task, tokenizer, count, seed: context.seed, maxPositions };
  if (options.onPolicyShare < 1 && options.offPolicyData === 'demonstrations')
    requireDemonstrationRoom({ ...source, total: options.steps * count }, context.name);
  const demonstrationsOf = demonstrationBatches(source);
  for (let step = session.startStep + 1; session.goesOn(step); step++) {
    const started = performance.now();
    const data = dataOf(step, context.seed, options);
    const sampled = async () => {
      if (data === 'student' || !kept)
        return collectStep(session, context, task, options, step, data === 'teacher' ? teacher : policy);
      const groups = await kept.groups(task, options, step, context.seed);
      session.countGenerated(groups.flatMap((group) => group.rollouts));
      return groups;
    };
    const scored: ScoredGroup[] =
      data === 'demonstrations' ? [] : await scoreGroups(task, [], await sampled());
    const sequences: readonly TrainingSequence[] =
      data === 'demonstrations'
        ? demonstrationsOf(step)
        : scored.flatMap((group) => group.scored.map((one) => one.rollout));
    const rolloutSeconds = (performance.now() - started) / 1000;

    const batches = cutMicroBatches(sequences, options.microBatchTokens, padIdOf(policy));
    const asked = { ...options, vocabulary, samplingLogps: samplersLogps(batches, scored, options) };
    const { loss, entropy, tokenScores } = accumulateDistillation(policy, teacher, batches, asked);
    const gradNorm = clipGradNorm(trainableParameters(policy).values(), options.maxGradNorm);
    session.requireFinite(step, { loss, gradNorm }, sequences);
    const learningRate = session.learningRate(step, options);
    optimizer.step(learningRate);

    const seconds = (performance.now() - started) / 1000;
    const tokens = batches.reduce((sum, batch) => sum + batch.tokens, 0);
    const kind = options.objective;
    const values = tokenScores && scattered(batches, sequences, tokenScores);
    const shown = values && kind !== 'sequence' ? { kind, values } : null;
    if (scored.length > 0) rolloutFile.append(...rolloutLines(step, scored, { tokens: shown }));
    const stop = await session.finishStep(step, {
      loss,
      learning_rate: learningRate,
      grad_norm: gradNorm,
      ...(scored.length > 0 ? judgementMetrics(scored) : {}),
      'policy/entropy': entropy,
      'distillation/on_policy': data === 'student' ? 1 : 0,
      'batch/tokens': tokens,
      'batch/padding_share': paddingShare(batches),
      'time/step_s': seconds,
      'time/rollout_s': rolloutSeconds,
      'time/update_s': seconds - rolloutSeconds,
      'perf/tokens_per_s': tokens / seconds,
    });
    if (stop) return session.end('stopped');
  }
  return session.end('done');
}

/**
 * What the student's completions were sampled with, by micro-batch, where that is not the student itself (top-p, rounded
 * weights, servers); null where nothing is corrected.
 */
function samplersLogps(
  batches: readonly MicroBatch[],
  scored: readonly ScoredGroup[],
  { objective, sampling, remote }: DistillOptions,
): Float32Array[] | null {
  if (objective !== 'log-ratio' || !(samplerDiffers(sampling) || remote)) return null;
  const rollouts = scored.flatMap((group) => group.scored.map((one) => one.rollout));
  if (rollouts.some((one) => one.samplingLogps.length < one.completionIds.length)) return null;
  return batches.map((batch) => gathered(batch, rollouts, (one) => one.samplingLogps));
}

/** The teacher's completions, where any are sampled and kept. */
function keptGenerations(
  { directory }: TrainContext,
  model: Decoder,
  tokenizer: Tokenizer,
  { generations, onPolicyShare, offPolicyData, teacher }: DistillOptions,
): Generations | null {
  if (!generations || onPolicyShare >= 1 || offPolicyData !== 'teacher') return null;
  const path = generations.file ?? join(directory, 'rollouts', 'teacher-generations.jsonl');
  const fingerprint = teacherFingerprint(teacher, model.config.vocabSize);
  return new Generations(path, { model, fingerprint, tokenizer });
}

/** Whose sequences a step learns from; drawn by the step alone. */
function dataOf(
  step: number,
  seed: number,
  { onPolicyShare, offPolicyData }: DistillOptions,
): DistillationData {
  const drawn = new Rng({ seed, purpose: 'on-policy', step }).uniform();
  return drawn < onPolicyShare ? 'student' : offPolicyData;
}

/** Means over completion tokens, in nats. */
interface Accumulated {
  readonly loss: number;
  readonly entropy: number;
}

/** The same of a micro-batch, and what the teacher says of each of its tokens. */
interface Judged extends Accumulated {
  readonly tokenScores: Float32Array;
}

/** Accumulates the gradient of one optimizer batch into the student's parameters. */
export function accumulateDistillation(
  policy: Decoder,
  teacher: Decoder,
  batches: readonly MicroBatch[],
  options: Pick<DistillOptions, 'objective' | 'beta' | 'softening' | 'sampling'> & {
    readonly vocabulary: number;
    /** Of the sampler, where it was not the policy, for importance weights in `log-ratio`; by micro-batch. */
    readonly samplingLogps?: readonly Float32Array[] | null;
  },
): Accumulated & { readonly tokenScores: readonly Float32Array[] | null } {
  if (options.objective === 'sequence')
    return { ...accumulateCrossEntropy(policy, batches), tokenScores: null };
  const one = options.objective === 'divergence' ? divergeFrom : imitate;
  const targets = batches.reduce((sum, batch) => sum + batch.targets.length, 0);
  const sums = batches.map((batch, i) =>
    scope(() =>
      one(policy, teacher, batch, targets, { ...options, samplers: options.samplingLogps?.[i] ?? null }),
    ),
  );
  return {
    loss: sums.reduce((sum, part) => sum + part.loss, 0),
    entropy: sums.reduce((sum, part) => sum + part.entropy, 0) / targets,
    tokenScores: sums.map((part) => part.tokenScores),
  };
}

type MicroOptions = Parameters<typeof accumulateDistillation>[3] & {
  /** `samplingLogps` of the micro-batch. */
  readonly samplers: Float32Array | null;
};

/** GKD: the divergence of whole distributions. The loss of the micro-batch over all targets; entropy summed. */
function divergeFrom(
  policy: Decoder,
  teacher: Decoder,
  batch: MicroBatch,
  targets: number,
  { beta, softening, vocabulary }: MicroOptions,
): Judged {
  const theirs = noGrad(() => ({
    hidden_ND: onDeviceOf(policy, predictingStates(teacher, batch).hidden_ND),
    head_VD: onDeviceOf(policy, teacher.headWeight),
  }));
  const { hidden_ND, close } = trainingStates(policy, batch);
  const sums = backwardThroughDivergence(
    { hidden_ND, head_VD: policy.headWeight },
    theirs,
    full([batch.targets.length], 1 / targets, 'f32', policy.device),
    { beta, temperature: softening, vocabulary },
  );
  close();
  return { ...sums, tokenScores: sums.perToken };
}

/**
 * The policy gradient of the reverse KL: log(teacher / student) of each sampled token is its advantage, at the sampling
 * temperature; what another distribution sampled has importance weights. The loss is the estimate of the KL itself.
 */
function imitate(
  policy: Decoder,
  teacher: Decoder,
  batch: MicroBatch,
  targets: number,
  { sampling, vocabulary, samplers }: MicroOptions,
): Judged {
  const options: TokenLogpOptions = { temperature: sampling.temperature, vocabulary };
  const { hidden_ND, targets_N, close } = trainingStates(policy, batch);
  const teacherLogps_N = noGrad(() => {
    const theirs = predictingStates(teacher, batch);
    const { logps_N } = tokenLogps(theirs.hidden_ND, teacher.headWeight, theirs.targets_N, options);
    return onDeviceOf(policy, logps_N);
  });
  let entropy = 0;
  let tokenScores: Float32Array = new Float32Array(0);
  const loss = backwardThroughLogps(
    hidden_ND,
    policy.headWeight,
    targets_N,
    options,
    ({ logps_N, entropies_N }) => {
      entropy = noGrad(() => entropies_N.detach().sum().item());
      const oldLogps_N = logps_N.detach();
      const advantages_N = teacherLogps_N.sub(oldLogps_N);
      tokenScores = advantages_N.toFloat32();
      const samplers_N = samplers && fromBytes(samplers, 'f32', [samplers.length]).to('f32', policy.device);
      const importance = samplers_N && {
        weights_N: importanceWeights(oldLogps_N, samplers_N, defaultImportance),
        level: defaultImportance.level,
      };
      return policyGradientLoss(
        {
          logps_N,
          oldLogps_N,
          referenceLogps_N: null,
          advantages_N,
          weights_N: full([batch.targets.length], 1 / targets, 'f32', policy.device),
          ...(importance ? { importance } : {}),
        },
        // One update a batch: the ratio is 1 and no bound is ever active.
        { clip: { low: 1, high: 1 }, kl: { beta: 0, estimator: 'k1' } },
      ).loss;
    },
  );
  close();
  return { loss: loss.item(), entropy, tokenScores };
}

function onDeviceOf({ device }: Decoder, value: Tensor): Tensor {
  return value.device === device ? value : value.to(value.dtype, device);
}
