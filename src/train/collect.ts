/** Owns the rollouts of a training step: which problems, which prompts, sampled by an engine. Knows no reward. */

import type { Problem } from '../data/problem.ts';
import type { Decoder, WeightFormat } from '../models/index.ts';
import { encodePrompt } from '../prompts/index.ts';
import type { Task } from '../rewards/index.ts';
import { collectGroups, type Group } from '../rollouts/index.ts';
import { Rng } from '../util/rng.ts';
import { itemsOfStep } from './order.ts';
import type { Session, TrainContext } from './session.ts';

/** How training rollouts are sampled. */
export interface RolloutSampling {
  readonly temperature: number;
  readonly topP: number;
  readonly topK?: number | undefined;
  readonly minP?: number | undefined;
  readonly maxCompletionTokens: number;
  readonly prefillChunk?: number | undefined;
  /** Of the policy's copy that samples; a loss with importance ratios corrects for what rounding changes. */
  readonly weights?: WeightFormat | undefined;
}

/** Whether completions come from another distribution than the policy's own: cut off, or of rounded weights. */
export function samplerDiffers({
  topP,
  topK,
  minP,
  weights,
}: Pick<RolloutSampling, 'topP' | 'topK' | 'minP' | 'weights'>): boolean {
  return topP < 1 || topK !== undefined || minP !== undefined || weights === 'int8';
}

export interface CollectOptions {
  readonly promptsPerStep: number;
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
  { promptsPerStep, groupSize, sampling }: CollectOptions,
  step: number,
  model: Decoder = session.policy,
): Promise<Group[]> {
  const problems = itemsOfStep(task.splits.train, step, promptsPerStep, seed).map(({ item }) => item);
  const promptOf = (problem: Problem) =>
    task.prompt(problem, new Rng({ seed, purpose: 'prompt', step, id: problem.id }));
  const first = () => encodePrompt(session.tokenizer, promptOf(problems[0]!));
  using engine = await session.engines.open(model, step, first, sampling, sampling.weights);
  const groups = await collectGroups(engine, session.tokenizer, problems, promptOf, {
    ...sampling,
    maxNewTokens: sampling.maxCompletionTokens,
    stopIds: engine.eosTokenIds,
    stopStrings: task.stop ?? [],
    groupSize,
    seed,
    step,
    log: (line) => log(`${name}: ${line}`),
  });
  session.countGenerated(groups.flatMap((group) => group.rollouts));
  return groups;
}
