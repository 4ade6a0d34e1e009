/** Owns the rollouts of a training step: which problems, which prompts, sampled by an engine. Knows no reward. */

import type { Problem } from '../data/problem.ts';
import type { GenerationOptions, SamplingShape } from '../generate/index.ts';
import type { Decoder } from '../models/index.ts';
import { encodePrompt } from '../prompts/index.ts';
import type { Task } from '../rewards/index.ts';
import { collectGroups, type Group } from '../rollouts/index.ts';
import { Rng } from '../util/rng.ts';
import { itemsOfStep } from './order.ts';
import type { Session, TrainContext } from './session.ts';

/** How training rollouts are sampled. */
export interface RolloutSampling extends SamplingShape {
  readonly temperature: number;
  /** Texts that end a completion, beside those of the task. */
  readonly stop?: readonly string[] | undefined;
  readonly maxCompletionTokens: number;
  readonly prefillChunk?: number | undefined;
}

/** What an engine is asked for by how rollouts are sampled; `taskStop` are the task's own ends. */
export function drawnBy(
  { stop = [], logitBias, repetitionPenalty, minCompletionTokens, ...sampling }: RolloutSampling,
  taskStop: readonly string[] = [],
): Pick<
  GenerationOptions,
  'temperature' | 'topP' | 'topK' | 'minP' | 'prefillChunk' | 'maxNewTokens' | 'stopStrings' | 'logitBias'
> &
  Pick<GenerationOptions, 'repetitionPenalty' | 'minNewTokens'> {
  const { temperature, topP, topK, minP, prefillChunk, maxCompletionTokens } = sampling;
  const bias = Object.entries(logitBias ?? {}).map(([id, value]) => [Number(id), value] as const);
  return {
    temperature,
    topP,
    topK,
    minP,
    prefillChunk,
    maxNewTokens: maxCompletionTokens,
    stopStrings: [...taskStop, ...stop],
    ...(bias.length > 0 ? { logitBias: new Map(bias) } : {}),
    ...(repetitionPenalty === undefined ? {} : { repetitionPenalty }),
    ...(minCompletionTokens === undefined ? {} : { minNewTokens: minCompletionTokens }),
  };
}

export interface CollectOptions {
  readonly promptsPerStep: number;
  /** Problems of all steps together, where these are whole passes over them: the last step may have fewer. */
  readonly total?: number | undefined;
  readonly groupSize: number;
  readonly sampling: RolloutSampling;
}

/**
 * Samples the groups of a step from the policy as it is now, so nothing stale is ever used; or from another model of the
 * same vocabulary, in its full weights.
 */
export async function collectStep(
  session: Session,
  { seed, name, log }: TrainContext,
  task: Task,
  { promptsPerStep, total, groupSize, sampling }: CollectOptions,
  step: number,
  model: Decoder = session.policy,
): Promise<Group[]> {
  const problems = itemsOfStep(task.splits.train, step, promptsPerStep, seed, total).map(({ item }) => item);
  const promptOf = (problem: Problem) =>
    task.prompt(problem, new Rng({ seed, purpose: 'prompt', step, id: problem.id }));
  const first = () => encodePrompt(session.tokenizer, promptOf(problems[0]!));
  using engine = await session.engines.open(model, step, first, drawnBy(sampling), sampling.weights);
  const groups = await collectGroups(engine, session.tokenizer, problems, promptOf, {
    ...drawnBy(sampling, task.stop),
    stopIds: engine.eosTokenIds,
    groupSize,
    seed,
    step,
    log: (line) => log(`${name}: ${line}`),
  });
  session.countGenerated(groups.flatMap((group) => group.rollouts));
  return groups;
}
