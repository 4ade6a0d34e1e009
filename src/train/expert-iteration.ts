/**
 * Owns expert iteration, whole: collect, judge, keep what is correct, fine-tune on it, log, checkpoint (Anthony et al.
 * 2017; as rejection sampling from the base Zelikman et al. 2022). Knows no recipe and no particular task.
 */

import { padIdOf } from '../models/index.ts';
import { trainableParameters } from '../nn/index.ts';
import { clipGradNorm, type ScheduleOptions } from '../optim/index.ts';
import { type ScoredGroup, scoreGroups, type Task } from '../rewards/index.ts';
import type { Group, Rollout } from '../rollouts/index.ts';
import { mean } from '../util/statistics.ts';
import { collectStep, type RolloutSampling } from './collect.ts';
import type { StageOutcome } from './context.ts';
import { accumulateCrossEntropy, type CrossEntropySums } from './cross-entropy.ts';
import { cutMicroBatches, paddingShare } from './micro-batches.ts';
import { minibatchesOf } from './order.ts';
import { requirePromptRoom } from './prompt-room.ts';
import { rolloutLines } from './rollout-lines.ts';
import { judgementMetrics } from './rollout-metrics.ts';
import { Session, type SessionOptions, type TrainContext } from './session.ts';

export interface ExpertIterationOptions extends Omit<SessionOptions, 'trainer'>, ScheduleOptions {
  readonly promptsPerStep: number;
  readonly groupSize: number;
  /** Correct completions kept of each problem, at most; all by default. */
  readonly keepPerProblem: number;
  /** Of the correct completions, the shortest are kept, not the first. */
  readonly shortestFirst: boolean;
  /** What is fine-tuned: the current policy, or anew the model that the stage began with. */
  readonly trainFrom: 'current' | 'base';
  /** Sequences in one optimizer step. */
  readonly optimizerBatch: number;
  readonly microBatchTokens: number;
  /** Passes over the kept completions of a step. */
  readonly epochs: number;
  readonly maxGradNorm: number;
  readonly sampling: RolloutSampling;
}

/** Improves the parent's model by its own correct completions; a step is a rollout batch and its fine-tuning. */
export async function trainExpertIteration(
  context: TrainContext,
  task: Task,
  options: ExpertIterationOptions,
): Promise<StageOutcome> {
  using session = new Session(context, { ...options, trainer: 'expert-iteration' });
  requirePromptRoom(session, context, task, options);
  using rolloutFile = session.jsonl('rollouts/train.jsonl');
  using keptFile = session.jsonl('rollouts/kept.jsonl');
  const { policy, optimizer } = session;
  const padId = padIdOf(policy);
  for (let step = session.startStep + 1; session.goesOn(step); step++) {
    const started = performance.now();
    const groups = await collectStep(session, context, task, options, step);
    const scored = await scoreGroups(task, [], groups);
    const rolloutSeconds = (performance.now() - started) / 1000;

    const kept = scored.flatMap((group) => keptOf(group, options));
    if (options.trainFrom === 'base') session.restart();

    const learningRate = session.learningRate(step, options);
    const updates: (CrossEntropySums & { gradNorm: number; paddingShare: number })[] = [];
    for (const minibatch of minibatchesOf(kept, options, context.seed, step)) {
      const batches = cutMicroBatches(minibatch, options.microBatchTokens, padId);
      const sums = accumulateCrossEntropy(policy, batches);
      const gradNorm = clipGradNorm(trainableParameters(policy).values(), options.maxGradNorm);
      session.requireFinite(step, { loss: sums.loss, gradNorm }, minibatch);
      optimizer.step(learningRate);
      updates.push({ ...sums, gradNorm, paddingShare: paddingShare(batches) });
    }

    const seconds = (performance.now() - started) / 1000;
    rolloutFile.append(...rolloutLines(step, scored));
    keptFile.append(...kept.map((rollout) => keptLine(step, groups, rollout)));
    const tokens = updates.reduce((sum, update) => sum + update.tokens, 0);
    const average = (read: (update: (typeof updates)[number]) => number) =>
      updates.length > 0 ? mean(updates.map(read)) : null;
    const stop = await session.finishStep(step, {
      loss: average((update) => update.loss),
      learning_rate: learningRate,
      grad_norm: average((update) => update.gradNorm),
      ...judgementMetrics(scored),
      'policy/entropy': average((update) => update.entropy),
      'rollouts/kept': kept.length,
      'batch/tokens': tokens,
      'batch/padding_share': average((update) => update.paddingShare),
      'time/step_s': seconds,
      'time/rollout_s': rolloutSeconds,
      'time/update_s': seconds - rolloutSeconds,
      'perf/tokens_per_s': tokens / seconds,
    });
    if (stop) return session.end('stopped');
  }
  return session.end('done');
}

/** The correct completions of a group, no two of the same tokens, at most `keepPerProblem`. */
function keptOf({ scored }: ScoredGroup, options: ExpertIterationOptions): Rollout[] {
  const correct = new Map<string, Rollout>();
  for (const { rollout, judgement } of scored) {
    const key = rollout.completionIds.join();
    if (judgement.verdict === 'correct' && !correct.has(key)) correct.set(key, rollout);
  }
  const all = [...correct.values()];
  // Stable: among equal lengths the first sampled stays first.
  if (options.shortestFirst) all.sort((a, b) => a.completionIds.length - b.completionIds.length);
  return all.slice(0, options.keepPerProblem);
}

/** A kept completion as text and as ids: the ids are what is trained on. */
function keptLine(
  step: number,
  groups: readonly Group[],
  { problemId, promptIds, completionIds, text }: Rollout,
): object {
  const problem = groups.find((group) => group.problem.id === problemId)!.problem;
  return { step, problemId, question: problem.question, completion: text, promptIds, completionIds };
}
