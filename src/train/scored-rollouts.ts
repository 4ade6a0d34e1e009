/**
 * Owns the scored rollouts of a reinforcement step: groups collected and judged, and, with dynamic sampling, groups that
 * teach nothing drawn again (Yu et al. 2025). Knows no loss.
 */

import { type Reward, type ScoredGroup, scoreGroups, type Task } from '../rewards/index.ts';
import type { Group } from '../rollouts/index.ts';
import { ReckonError } from '../util/errors.ts';
import { type CollectOptions, collectStep } from './collect.ts';
import type { Session, TrainContext } from './session.ts';

export interface ScoredOptions extends CollectOptions {
  readonly rewards: readonly Reward[];
  /** Draws at most this many times `promptsPerStep` problems to fill a step with groups that have spread; 1 is off. */
  readonly maxDraws: number;
}

export interface ScoredStep {
  readonly groups: readonly ScoredGroup[];
  /** Times that `promptsPerStep` problems were drawn. */
  readonly draws: number;
}

/**
 * The groups of a step. With `maxDraws` above 1 a group whose rewards are all equal is replaced by one of the problems
 * that come next, until the step is full or the draws are used up; then it goes on with what there is, and where no group
 * has spread with the last draw. Which problems come next is in the checkpoint. A teacher's reward does not count here: no
 * two completions have the same, so nothing would ever be drawn again.
 */
export async function collectScored(
  session: Session,
  context: TrainContext,
  task: Task,
  options: ScoredOptions,
  step: number,
): Promise<ScoredStep> {
  if (options.maxDraws <= 1) return { groups: await draw(session, context, task, options, step), draws: 1 };
  const kept: ScoredGroup[] = [];
  let cursor = Number(session.extra['draws'] ?? 0);
  for (let draws = 1; ; draws++) {
    const groups = await draw(session, context, task, options, ++cursor);
    kept.push(...groups.filter(hasSpread));
    session.extra['draws'] = cursor;
    const full = kept.length >= options.promptsPerStep;
    // Also where a stop was asked for: the step must come out as it would have without it.
    if (!full && draws < options.maxDraws) continue;
    if (!full)
      context.log(
        `${context.name}, step ${step}: ${kept.length} of ${options.promptsPerStep} groups have spread after ${draws} draws`,
      );
    return { groups: kept.length > 0 ? kept.slice(0, options.promptsPerStep) : groups, draws };
  }
}

async function draw(
  session: Session,
  context: TrainContext,
  task: Task,
  options: ScoredOptions,
  place: number,
): Promise<ScoredGroup[]> {
  const groups = await collectStep(session, context, task, options, place);
  requireBehaviour(groups);
  return await scoreGroups(task, options.rewards, groups);
}

/** What is learned from needs the probability that it was sampled with: importance weights divide by it. */
function requireBehaviour(groups: readonly Group[]): void {
  const all = groups.flatMap((group) => group.rollouts);
  const silent = all.find((one) => one.samplingLogps.length !== one.completionIds.length);
  if (!silent) return;
  const message = `${silent.problemId}: the engine gave no log-probabilities of the distribution that it sampled from; at another temperature than 1, or with top-p, servers must be started with --logprobs-mode processed_logprobs and the recipe say engine.logprobs: processed`;
  throw new ReckonError('environment', 'no-sampling-logps', message);
}

function hasSpread({ scored }: ScoredGroup): boolean {
  const known = scored.map((one) => one.reward).filter((reward) => reward !== null);
  return known.length >= 2 && known.some((reward) => reward !== known[0]);
}
