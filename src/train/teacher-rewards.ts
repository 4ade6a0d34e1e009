/**
 * Owns the intrinsic reward of a step's completions: a frozen teacher's soft values of every token, from its cache where
 * they are known, as normalised rewards. Changes no model.
 */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { type Decoder, padIdOf } from '../models/index.ts';
import { type NormaliserOptions, type NormaliserState, normalise } from '../rewards/index.ts';
import type { EvictionPolicy } from '../rewards/intrinsic/eviction.ts';
import { ScoreCache } from '../rewards/intrinsic/score-cache.ts';
import {
  type IntrinsicForm,
  intrinsicRewards,
  type SequenceEnd,
  type SoftValues,
} from '../rewards/intrinsic/soft-bellman.ts';
import {
  emptyValues,
  firstValues,
  softValueNames,
  teacherScores,
} from '../rewards/intrinsic/teacher-scores.ts';
import type { Rollout } from '../rollouts/index.ts';
import { noGrad, scope } from '../torch/index.ts';
import type { MetricRecord } from '../track/index.ts';
import { ReckonError } from '../util/errors.ts';
import { mean, std } from '../util/statistics.ts';
import { cutMicroBatches, predictingStates, scattered, type TrainingSequence } from './micro-batches.ts';
import type { Session, TrainContext } from './session.ts';
import { loadTeacher, teacherFingerprint } from './teacher.ts';

export interface TeacherRewardOptions {
  /** A model folder; its tokenizer must be the student's. */
  readonly teacher: string;
  readonly form: IntrinsicForm;
  /** Temperature of the soft maximum. */
  readonly alpha: number;
  readonly gamma: number;
  readonly normaliser: NormaliserOptions;
  readonly cache: {
    readonly maxBytes: number;
    readonly eviction: EvictionPolicy;
    /** A file that a run begins with and leaves to others; by default one in the stage's folder, empty at the start. */
    readonly file?: string | undefined;
  } | null;
  /**
   * What the last token of a cut-off completion earns: by the teacher's value of the state after it, or nothing. The form
   * `logprob` needs no such value.
   */
  readonly truncated: 'bootstrap' | 'mask';
  /** Where the teacher computes; the run's device by default. */
  readonly device?: string | undefined;
}

const snapshotFile = join('trainer', 'teacher-scores.bin');

/** Rewards of every token of every completion, and what is logged of them. */
export interface DenseRewards {
  readonly rewards: readonly (readonly number[])[];
  readonly metrics: MetricRecord;
}

/** A frozen f32 teacher beside a session; the normaliser's state is in the session's checkpoints. */
export class TeacherRewards implements Disposable {
  private readonly session: Session;
  private readonly options: TeacherRewardOptions;
  private readonly teacher: Decoder;
  private readonly vocabulary: number;
  private readonly microBatchTokens: number;
  private readonly cache: ScoreCache | null;

  constructor(
    session: Session,
    context: TrainContext,
    options: TeacherRewardOptions,
    microBatchTokens: number,
  ) {
    const { compute, directory } = context;
    const device = options.device ?? compute.device;
    this.session = session;
    this.options = options;
    this.microBatchTokens = microBatchTokens;
    this.teacher = loadTeacher(
      { ...context, compute: { ...compute, dtype: 'f32', device } },
      options.teacher,
      session.tokenizer,
    );
    this.vocabulary = Math.min(session.tokenizer.size, this.teacher.headWeight.size(0));
    this.cache = options.cache && this.openCache(directory, options.cache);
  }

  /**
   * The rewards of the forms of `intrinsicRewards`, normalised over all tokens of the step whose reward is known; the
   * others get 0.
   */
  rewardsOf(rollouts: readonly Rollout[]): DenseRewards {
    const values = this.valuesOf(rollouts.map((rollout) => this.sequenceOf(rollout)));
    const raw = rollouts.map((rollout, i) => {
      const own = firstValues(values[i]!, rollout.completionIds.length);
      return intrinsicRewards(own, endOf(rollout, values[i]!), this.options);
    });
    const known = raw.flat().filter((value) => value !== null);
    const before = (this.session.extra['intrinsicNormaliser'] ?? null) as NormaliserState | null;
    const { values: shaped, state } = normalise(known, before, this.options.normaliser);
    if (state) this.session.extra['intrinsicNormaliser'] = state;
    let next = 0;
    const rewards = raw.map((row) => row.map((value) => (value === null ? 0 : shaped[next++]!)));
    return { rewards, metrics: { ...rewardMetrics(known, raw.flat().length), ...this.cacheMetrics() } };
  }

  /** With one token more where the state after the completion counts. */
  private sequenceOf({ promptIds, completionIds, stopReason }: Rollout): TrainingSequence {
    const outside = completionIds.find((id) => id >= this.vocabulary);
    if (outside !== undefined) {
      const message = `the policy sampled id ${outside}, and the tokenizer and the teacher share ${this.vocabulary} ids; give the policy a model without padded rows`;
      throw new ReckonError('run', 'token-outside-vocabulary', message);
    }
    const { form, truncated } = this.options;
    const ends = stopReason === 'eos' || truncated === 'mask' || form === 'logprob';
    // Only the state before it counts; any id that is a token will do, which a configured pad id need not be.
    const after = ends ? [] : [0];
    return { promptIds, completionIds: [...completionIds, ...after] };
  }

  private valuesOf(sequences: readonly TrainingSequence[]): SoftValues[] {
    const known = sequences.map(
      ({ promptIds, completionIds }) => this.cache?.find(promptIds, completionIds) ?? emptyValues(0),
    );
    const missing = [...sequences.keys()].filter(
      (i) => known[i]!.q.length < sequences[i]!.completionIds.length,
    );
    const computed = this.compute(
      missing.map((i) => ({
        ...sequences[i]!,
        learned: sequences[i]!.completionIds.map((_, t) => t >= known[i]!.q.length),
      })),
    );
    missing.forEach((i, j) => {
      known[i] = joined(known[i]!, computed[j]!);
      this.cache?.store(sequences[i]!.promptIds, sequences[i]!.completionIds, known[i]);
    });
    this.cache?.sync();
    return known;
  }

  /** The teacher's values of the tokens that count, a micro-batch at a time. */
  private compute(sequences: readonly TrainingSequence[]): SoftValues[] {
    const { teacher, vocabulary, options } = this;
    const batches = cutMicroBatches(sequences, this.microBatchTokens, padIdOf(teacher));
    const seen = batches.map((batch) =>
      noGrad(() =>
        scope(() => {
          const { hidden_ND, targets_N } = predictingStates(teacher, batch);
          return teacherScores(hidden_ND, teacher.headWeight, targets_N, {
            alpha: options.alpha,
            vocabulary,
          });
        }),
      ),
    );
    const [q, v, mean, logp] = softValueNames.map((name) =>
      scattered(
        batches,
        sequences,
        seen.map((one) => one[name]),
      ).map((row) => Float64Array.from(row)),
    );
    return sequences.map((_, i) => ({ q: q![i]!, v: v![i]!, mean: mean![i]!, logp: logp![i]! }));
  }

  /** What is kept is in every checkpoint: a hit and a computed score may differ in their last bits. */
  private openCache(
    directory: string,
    { maxBytes, eviction, file }: NonNullable<TeacherRewardOptions['cache']>,
  ): ScoreCache {
    const { teacher, alpha } = this.options;
    const { resumedFrom } = this.session;
    const saved = resumedFrom && join(resumedFrom, snapshotFile);
    const start = file === undefined ? { restore: null } : {};
    const cache = new ScoreCache(file ?? join(directory, 'teacher-scores.bin'), {
      teacher: teacherFingerprint(teacher, this.vocabulary),
      alpha,
      maxBytes,
      eviction,
      ...(saved && existsSync(saved) ? { restore: saved } : start),
    });
    this.session.alsoSave((folder) => cache.snapshot(join(folder, snapshotFile)));
    return cache;
  }

  private cacheMetrics(): MetricRecord {
    if (!this.cache) return {};
    const { asked, found, evicted, bytes } = this.cache.counts();
    return {
      'perf/score_cache_hit_rate': asked > 0 ? found / asked : null,
      'perf/score_cache_evictions': evicted,
      'perf/score_cache_bytes': bytes,
    };
  }

  [Symbol.dispose](): void {
    this.cache?.[Symbol.dispose]();
    this.teacher[Symbol.dispose]();
  }
}

function endOf({ completionIds, stopReason }: Rollout, values: SoftValues): SequenceEnd {
  if (stopReason === 'eos') return { terminal: true, nextValue: 0 };
  const after = completionIds.length;
  return { terminal: false, nextValue: values.v[after] ?? null, nextMean: values.mean[after] ?? null };
}

function joined(first: SoftValues, second: SoftValues): SoftValues {
  const values = emptyValues(first.q.length + second.q.length);
  for (const name of softValueNames) {
    values[name].set(first[name]);
    values[name].set(second[name], first.q.length);
  }
  return values;
}

function rewardMetrics(known: readonly number[], tokens: number): MetricRecord {
  return {
    'intrinsic/reward_mean': known.length > 0 ? mean(known) : null,
    'intrinsic/reward_std': known.length > 1 ? std(known, 1) : null,
    'intrinsic/unknown': tokens - known.length,
  };
}
