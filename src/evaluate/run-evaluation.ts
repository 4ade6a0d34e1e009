/** Owns the measuring of a model on problems: sample, judge. Knows no run directory and no file. */

import type { Problem } from '../data/problem.ts';
import type { Decoder } from '../models/index.ts';
import { type Reward, type ScoredGroup, scoreGroups, type Task } from '../rewards/index.ts';
import { collectGroups } from '../rollouts/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { Rng } from '../util/rng.ts';

export interface MeasureOptions {
  readonly samplesPerProblem: number;
  /** 0 takes the likeliest token always. */
  readonly temperature: number;
  readonly topP: number;
  readonly maxCompletionTokens: number;
  readonly seed: number;
  /** Most sequences at once; the engine's own choice by default. */
  readonly maxRows?: number;
  readonly stopRequested?: () => boolean;
}

/** Samples and judges every problem; how a prompt is varied and what is drawn follow from the seed and the problem. */
export async function measure(
  model: Decoder,
  tokenizer: Tokenizer,
  task: Task,
  problems: readonly Problem[],
  options: MeasureOptions,
): Promise<ScoredGroup[]> {
  using snapshot = model.snapshot();
  return await measureSnapshot(snapshot, tokenizer, task, problems, options);
}

/** {@link measure} with a snapshot that the caller made, for many batches of problems on one. */
export async function measureSnapshot(
  snapshot: Decoder,
  tokenizer: Tokenizer,
  task: Task,
  problems: readonly Problem[],
  options: MeasureOptions,
  rewards: readonly Reward[] = [],
): Promise<ScoredGroup[]> {
  const { temperature, topP, maxCompletionTokens, samplesPerProblem, seed, maxRows, stopRequested } = options;
  const groups = await collectGroups(
    snapshot,
    tokenizer,
    problems,
    (problem) => evaluationPrompt(task, problem, seed),
    {
      temperature,
      topP,
      maxNewTokens: maxCompletionTokens,
      stopIds: snapshot.config.eosTokenIds,
      stopStrings: task.stop ?? [],
      groupSize: samplesPerProblem,
      seed,
      step: 0,
      ...(maxRows === undefined ? {} : { maxRows }),
      ...(stopRequested === undefined ? {} : { stopRequested }),
    },
  );
  return await scoreGroups(task, rewards, groups);
}

/** The prompt of a problem in an evaluation with that seed. */
export function evaluationPrompt(task: Task, problem: Problem, seed: number): string {
  return task.prompt(problem, new Rng({ seed, purpose: 'evaluation-prompt', id: problem.id }));
}

/** Every reward of a task, only watched: none counts towards a total. */
export function watchedRewards(task: Task): Reward[] {
  return Object.entries(task.rewards).map(([name, score]) => ({ name, weight: 0, score }));
}
