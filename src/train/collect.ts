/** Owns the rollouts of a training step: which problems, which prompts, sampled from the policy. Knows no reward. */

import { type Decoder, readerOf, type WeightFormat } from '../models/index.ts';
import type { Task } from '../rewards/index.ts';
import { collectGroups, type Group } from '../rollouts/index.ts';
import { Rng } from '../util/rng.ts';
import { itemsOfStep } from './order.ts';
import type { Session, TrainContext } from './session.ts';

/** How training rollouts are sampled. */
export interface RolloutSampling {
  readonly temperature: number;
  readonly topP: number;
  readonly maxCompletionTokens: number;
  /** Of the policy's copy that samples; a loss with importance ratios corrects for what rounding changes. */
  readonly topK?: number | undefined;
  readonly minP?: number | undefined;
  readonly prefillChunk?: number | undefined;
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
  { seed }: TrainContext,
  task: Task,
  { promptsPerStep, groupSize, sampling }: CollectOptions,
  step: number,
  model: Decoder = session.policy,
): Promise<Group[]> {
  using reader = readerOf(model, model === session.policy ? sampling.weights : 'full');
  const problems = itemsOfStep(task.splits.train, step, promptsPerStep, seed).map(({ item }) => item);
  const groups = await collectGroups(
    reader.model,
    session.tokenizer,
    problems,
    (problem) => task.prompt(problem, new Rng({ seed, purpose: 'prompt', step, id: problem.id })),
    {
      ...sampling,
      maxNewTokens: sampling.maxCompletionTokens,
      stopIds: model.config.eosTokenIds,
      stopStrings: task.stop ?? [],
      groupSize,
      seed,
      step,
    },
  );
  session.countGenerated(groups.flatMap((group) => group.rollouts));
  return groups;
}
