/** Owns the measuring of a model on problems: sample, judge. Knows no run directory and no file. */

import type { Problem } from '../data/problem.ts';
import type { Engine } from '../generate/index.ts';
import { type Reward, type ScoredGroup, scoreGroups, type Task } from '../rewards/index.ts';
import { collectGroups, type Group, type Rollout } from '../rollouts/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { Rng } from '../util/rng.ts';
import type { EvaluationJob } from './resumable.ts';
import { rowsOf } from './rows.ts';

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
  engine: Engine,
  tokenizer: Tokenizer,
  task: Task,
  problems: readonly Problem[],
  options: MeasureOptions,
): Promise<ScoredGroup[]> {
  return await scoreGroups(task, [], await sampleProblems(engine, tokenizer, task, problems, options));
}

/** What is known of some problems already, and who is told of the completions of each other one as soon as they end. */
export interface PartOf {
  readonly known: ReadonlyMap<string, readonly Rollout[]>;
  readonly onProblem: (completions: readonly Rollout[]) => void;
}

/** Samples problems; the groups of problems that are known come back empty. */
export async function sampleProblems(
  engine: Engine,
  tokenizer: Tokenizer,
  task: Task,
  problems: readonly Problem[],
  options: MeasureOptions,
  part?: PartOf,
): Promise<Group[]> {
  const { temperature, topP, maxCompletionTokens, samplesPerProblem, seed, maxRows, stopRequested } = options;
  const lengths = (rollouts: readonly Rollout[]): number[] =>
    rollouts.map(({ completionIds }) => completionIds.length);
  return await collectGroups(
    engine,
    tokenizer,
    problems,
    (problem) => evaluationPrompt(task, problem, seed),
    {
      temperature,
      topP,
      maxNewTokens: maxCompletionTokens,
      stopIds: engine.eosTokenIds,
      stopStrings: task.stop ?? [],
      groupSize: samplesPerProblem,
      seed,
      step: 0,
      ...(maxRows === undefined ? {} : { maxRows }),
      ...(stopRequested === undefined ? {} : { stopRequested }),
      known: part && new Map([...part.known].map(([id, rollouts]) => [id, lengths(rollouts)])),
      onRequest: part?.onProblem,
    },
  );
}

/** What of {@link evaluateResumably}'s work is an engine's: it samples, is judged, and is exact within a batch or not. */
export function workOf(
  engine: Engine,
  tokenizer: Tokenizer,
  task: Task,
  options: MeasureOptions & { readonly keepIds?: boolean },
): Pick<EvaluationJob<Problem>, 'sample' | 'judge' | 'exactWithin' | 'samplesPerProblem'> {
  const rewards = watchedRewards(task);
  const promptText = (ids: readonly number[]): string => tokenizer.decodeAll(ids);
  return {
    samplesPerProblem: options.samplesPerProblem,
    exactWithin: engine.keepsOthers,
    sample: async (problems, known, keep) => {
      await sampleProblems(engine, tokenizer, task, problems, options, {
        known,
        onProblem: (completions) => keep(completions.map(withoutLogps)),
      });
    },
    judge: async (problems, completions) => {
      const groups = problems.map((problem, i) => ({ problem, rollouts: completions[i]! }));
      const scored = await scoreGroups(task, rewards, groups);
      return scored.flatMap((group) => rowsOf(group, { promptText, keepIds: options.keepIds ?? false }));
    },
  };
}

/** No verdict and no reward reads them, and as text they are most of what is kept of a completion. */
function withoutLogps(completion: Rollout): Rollout {
  return { ...completion, logps: [], samplingLogps: [] };
}

/** The prompt of a problem in an evaluation with that seed. */
export function evaluationPrompt(task: Task, problem: Problem, seed: number): string {
  return task.prompt(problem, new Rng({ seed, purpose: 'evaluation-prompt', id: problem.id }));
}

/** Every reward of a task, only watched: none counts towards a total. */
export function watchedRewards(task: Task): Reward[] {
  return Object.entries(task.rewards).map(([name, score]) => ({ name, weight: 0, score }));
}
