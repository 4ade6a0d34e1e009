/** Owns the measuring of a model on problems: sample, judge, summarise. Knows no run directory. */

import type { Problem } from '../data/problem.ts';
import type { Decoder } from '../models/index.ts';
import { type ScoredGroup, scoreGroups, type Task } from '../rewards/index.ts';
import { collectGroups } from '../rollouts/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { Rng } from '../util/rng.ts';

export interface MeasureOptions {
  readonly samplesPerProblem: number;
  readonly temperature: number;
  readonly topP: number;
  readonly maxCompletionTokens: number;
  readonly seed: number;
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
  const groups = await collectGroups(
    snapshot,
    tokenizer,
    problems,
    (problem) =>
      task.prompt(problem, new Rng({ seed: options.seed, purpose: 'evaluation-prompt', id: problem.id })),
    {
      temperature: options.temperature,
      topP: options.topP,
      maxNewTokens: options.maxCompletionTokens,
      stopIds: snapshot.config.eosTokenIds,
      groupSize: options.samplesPerProblem,
      seed: options.seed,
      step: 0,
      ...(options.stopRequested ? { stopRequested: options.stopRequested } : {}),
    },
  );
  return scoreGroups(task, [], groups);
}
