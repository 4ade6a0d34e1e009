/**
 * Owns what a completion is rewarded with beyond the recipe's fixed sum: a teacher's intrinsic reward a token, and weights
 * that adapt. Knows no advantage.
 */

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  type AdaptiveWeightOptions,
  adaptWeights,
  type RewardWeights,
  type Scored,
  type ScoredGroup,
} from '../rewards/index.ts';
import type { MetricRecord } from '../track/index.ts';
import type { Session, TrainContext } from './session.ts';
import { type TeacherRewardOptions, TeacherRewards } from './teacher-rewards.ts';

export interface RewardShapingOptions {
  /** `missing` is what an unknown part counts as; without it the sum is unknown too. */
  readonly rewards: readonly {
    readonly name: string;
    readonly weight: number;
    readonly missing?: number | undefined;
  }[];
  /** A teacher's reward of every token, times `weight`; null for none. */
  readonly intrinsic: (TeacherRewardOptions & { readonly weight: number }) | null;
  /** Null keeps the weights that the recipe gives. */
  readonly adaptiveWeights: AdaptiveWeightOptions | null;
  readonly microBatchTokens: number;
}

/** A number a completion for its end, and one a token, weighted; `dense` is null without a teacher. */
export interface ShapedRewards {
  readonly scores: readonly (number | null)[];
  readonly dense: readonly (readonly number[])[] | null;
  /** The intrinsic reward of each completion without its weight, summed over tokens; null without a teacher. */
  readonly sums: readonly number[] | null;
  /** By which the parts were weighted. */
  readonly weights: RewardWeights;
  readonly metrics: MetricRecord;
}

/** Groups with their rewards as shaped: the intrinsic reward is one more part, summed over tokens. */
export interface ShapedGroups {
  readonly groups: readonly ScoredGroup[];
  /** The weighted intrinsic reward of every token, a list a rollout; null without a teacher. */
  readonly dense: readonly (readonly number[])[] | null;
  readonly weights: RewardWeights;
  readonly metrics: MetricRecord;
}

const intrinsicName = 'intrinsic';

/** Holds the teacher; adapting weights are in the session's checkpoints, and beside them as JSON to be read. */
export class RewardShaping implements Disposable {
  private readonly session: Session;
  private readonly options: RewardShapingOptions;
  private readonly teacher: TeacherRewards | null;

  constructor(session: Session, context: TrainContext, options: RewardShapingOptions) {
    const { intrinsic, adaptiveWeights, microBatchTokens } = options;
    this.session = session;
    this.options = options;
    this.teacher = intrinsic && new TeacherRewards(session, context, intrinsic, microBatchTokens);
    if (!adaptiveWeights) return;
    session.alsoSave((folder, step) => {
      const text = JSON.stringify({ version: 1, step, weights: this.weights }, null, 2);
      writeFileSync(join(folder, `adaptive_weights_step_${step}.json`), `${text}\n`);
    });
  }

  /** The rewards of a step's completions; adaptive weights then move for the next step. */
  shape(scored: readonly Scored[]): ShapedRewards {
    const { weights } = this;
    const found = this.teacher?.rewardsOf(scored.map((one) => one.rollout));
    const missing = new Map(this.options.rewards.map((reward) => [reward.name, reward.missing ?? null]));
    const scores = scored.map(({ parts }) => weightedScore(parts, weights, missing));
    const factor = weights[intrinsicName] ?? 0;
    const dense = found?.rewards.map((row) => row.map((value) => factor * value)) ?? null;
    const sums = found?.rewards.map((row) => row.reduce((sum, value) => sum + value, 0)) ?? null;
    if (this.options.adaptiveWeights) this.adapt(scored, scores, sums);
    return { scores, dense, sums, weights, metrics: found?.metrics ?? {} };
  }

  /** The same for methods that know a completion as a whole; adaptive weights then move for the next step. */
  shapeGroups(groups: readonly ScoredGroup[]): ShapedGroups {
    if (!this.teacher && !this.options.adaptiveWeights)
      return { groups, dense: null, weights: this.weights, metrics: {} };
    const { scores, dense, sums, weights, metrics } = this.shape(groups.flatMap(({ scored }) => scored));
    const factor = weights[intrinsicName] ?? 0;
    let next = 0;
    const shaped = groups.map(({ problem, scored }) => ({
      problem,
      scored: scored.map((one) => {
        const [score, sum] = [scores[next]!, sums?.[next] ?? null];
        next++;
        const reward = score === null ? null : score + factor * (sum ?? 0);
        return { ...one, reward, parts: sum === null ? one.parts : { ...one.parts, [intrinsicName]: sum } };
      }),
    }));
    return { groups: shaped, dense, weights, metrics };
  }

  private get weights(): RewardWeights {
    const { rewards, intrinsic } = this.options;
    const given = rewards.map(({ name, weight }) => [name, weight] as const);
    const all = intrinsic ? [...given, [intrinsicName, intrinsic.weight] as const] : given;
    return (this.session.extra['rewardWeights'] as RewardWeights | undefined) ?? Object.fromEntries(all);
  }

  private adapt(
    scored: readonly Scored[],
    scores: readonly (number | null)[],
    sums: readonly number[] | null,
  ): void {
    const { weights } = this;
    const parts = Object.fromEntries(
      Object.keys(weights).map((name) => [
        name,
        name === intrinsicName && sums ? sums : scored.map((one) => one.parts[name] ?? null),
      ]),
    );
    const totals = scores.map((score, i) =>
      score === null ? null : score + (weights[intrinsicName] ?? 0) * (sums?.[i] ?? 0),
    );
    this.session.extra['rewardWeights'] = adaptWeights(weights, parts, totals, this.options.adaptiveWeights!);
  }

  [Symbol.dispose](): void {
    this.teacher?.[Symbol.dispose]();
  }
}

/** The weighted sum of a completion's parts; null where one that counts is neither known nor stood in for. */
function weightedScore(
  parts: Scored['parts'],
  weights: RewardWeights,
  missing: ReadonlyMap<string, number | null>,
): number | null {
  let total = 0;
  for (const [name, part] of Object.entries(parts)) {
    const weight = weights[name] ?? 0;
    if (weight === 0) continue;
    const value = part ?? missing.get(name) ?? null;
    if (value === null) return null;
    total += weight * value;
  }
  return total;
}
