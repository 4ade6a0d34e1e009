/** Owns the numbers of one evaluation and its file `evaluations/<label>.json`. Samples nothing and judges nothing. */

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Verdict } from '../rewards/reward.ts';
import type { ScoredGroup } from '../rewards/score.ts';
import type { StopReason } from '../rollouts/rollout.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { type Interval, mean, passAtK } from '../util/statistics.ts';
import { detailsOf, detailsSchema, type EvaluationDetails, withScores } from './details.ts';
import type { ModelDistance } from './distance.ts';
import { clusteredShare } from './intervals.ts';
import { byProblem, type EvaluationRow, rowsOf } from './rows.ts';

/** Counts of one problem; `samples` is the same for all problems of an evaluation. */
export interface ProblemResult {
  readonly id: string;
  readonly question: string;
  readonly samples: number;
  readonly correct: number;
  readonly formatOk: number;
  readonly unverifiable: number;
}

/** The first sample of a problem, with what the grader said. */
export interface Transcript {
  readonly problemId: string;
  readonly question: string;
  readonly completion: string;
  readonly verdict: Verdict;
  readonly reason: string;
  readonly stopReason: StopReason;
}

/** What the caller knows about an evaluation; `summarise` copies it into the file. */
export interface EvaluationContext {
  /** Names the file: letters, digits, '.', '_' and '-'. */
  readonly label: string;
  /** The evaluated checkpoint, relative to the run directory. */
  readonly checkpoint: string;
  readonly task: string;
  readonly split: string;
  readonly seed: number;
  readonly temperature: number;
  /** Wall time of sampling and judging. */
  readonly seconds: number;
  /** How it was sampled beyond the temperature; older files do not say. */
  readonly sampling?: SamplingFacts | undefined;
  /** The file of its rows, beside this one. */
  readonly rows?: string | undefined;
}

/** How an evaluation was sampled and what was left out. */
export interface SamplingFacts {
  readonly topP: number;
  readonly maxCompletionTokens: number;
  /** Problems whose prompt was longer than asked for, which are not among the n. */
  readonly skippedPrompts?: number | undefined;
  /** The folder or id of the tokenizer, where it is not the model's own. */
  readonly tokenizer?: string | undefined;
  /** Where the model sampled with rounded weights. */
  readonly weights?: 'int8' | undefined;
}

/**
 * One evaluation as its file holds it. Shares lie in [0, 1] with 95 % intervals over problems, of the kind that
 * `intervals` names. An unverifiable sample counts as not correct and has its own column.
 */
export interface Evaluation extends EvaluationContext {
  readonly version: 1;
  readonly samplesPerProblem: number;
  /** Problems. */
  readonly n: number;
  readonly passAt1: Interval;
  /** The unbiased estimate of Chen et al. 2021; null with fewer than 8 samples a problem. */
  readonly passAt8: Interval | null;
  readonly format: Interval;
  /** Mean completion length in tokens. */
  readonly lengthMean: number;
  readonly unverifiable: number;
  readonly stopReasons: Readonly<Record<StopReason, number>>;
  readonly problems: readonly ProblemResult[];
  readonly transcripts: readonly Transcript[];
  /** `clusteredShare` where it says so; older files hold percentile-bootstrap intervals and do not say. */
  readonly intervals?: 'wilson-clustered' | undefined;
  readonly details?: EvaluationDetails | undefined;
  /** To other models, along its first samples. */
  readonly distances?: readonly ModelDistance[] | undefined;
}

const count = z.int().nonnegative();
const share = z.number().min(0).max(1);
const interval = z.object({ mean: share, low: share, high: share });
const label = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/);

/** The schema of `evaluations/<label>.json`, version 1. */
export const evaluationSchema: z.ZodType<Evaluation> = z.object({
  version: z.literal(1),
  label,
  checkpoint: z.string(),
  task: z.string(),
  split: z.string(),
  seed: z.int(),
  samplesPerProblem: z.int().positive(),
  temperature: z.number().nonnegative(),
  n: z.int().positive(),
  passAt1: interval,
  passAt8: interval.nullable(),
  format: interval,
  lengthMean: z.number().nonnegative(),
  unverifiable: count,
  stopReasons: z.object({ eos: count, stop: count, length: count, aborted: count }),
  seconds: z.number().nonnegative(),
  problems: z.array(
    z.object({
      id: z.string(),
      question: z.string(),
      samples: z.int().positive(),
      correct: count,
      formatOk: count,
      unverifiable: count,
    }),
  ),
  transcripts: z.array(
    z.object({
      problemId: z.string(),
      question: z.string(),
      completion: z.string(),
      verdict: z.enum(['correct', 'incorrect', 'unverifiable']),
      reason: z.string(),
      stopReason: z.enum(['eos', 'stop', 'length', 'aborted']),
    }),
  ),
  sampling: z
    .object({
      topP: z.number().positive(),
      maxCompletionTokens: z.int().positive(),
      skippedPrompts: count.optional(),
      tokenizer: z.string().optional(),
      weights: z.literal('int8').optional(),
    })
    .optional(),
  rows: z.string().optional(),
  intervals: z.literal('wilson-clustered').optional(),
  details: detailsSchema.optional(),
  distances: z
    .array(
      z.object({
        p: z.string(),
        q: z.string(),
        tokens: count,
        klPq: z.number(),
        klQp: z.number(),
        js: z.number(),
        cosine: z.number(),
        flatCosine: z.number(),
        top1Agreement: share,
        totalVariation: z.number(),
      }),
    )
    .optional(),
});

/** {@link summariseRows} of scored samples grouped by problem. */
export function summarise(context: EvaluationContext, groups: readonly ScoredGroup[]): Evaluation {
  return summariseGroups(
    context,
    groups.map((group) => rowsOf(group, { promptText: () => '' })),
  );
}

/**
 * The numbers of an evaluation's rows, which depend on the rows alone, but for the composite score, of which the stability of
 * the model's training is a part. Throws `nothing-evaluated` without samples and
 * `uneven-samples` where problems have different numbers of them.
 */
export function summariseRows(
  context: EvaluationContext,
  rows: readonly EvaluationRow[],
  trainingStability: number | null = null,
): Evaluation {
  return summariseGroups(context, byProblem(rows), trainingStability);
}

/** An evaluation with distances to other models; the first of them is the teacher of its two scores. */
export function withDistances(evaluation: Evaluation, distances: readonly ModelDistance[]): Evaluation {
  const { details } = evaluation;
  const teacher = distances.find(({ p }) => p === evaluation.checkpoint);
  if (details === undefined || teacher === undefined) return { ...evaluation, distances };
  const near = { cosine: teacher.flatCosine, kl: teacher.klQp };
  return { ...evaluation, distances, details: { ...details, measures: withScores(details.measures, near) } };
}

function summariseGroups(
  context: EvaluationContext,
  groups: readonly Rows[],
  trainingStability: number | null = null,
): Evaluation {
  const samplesPerProblem = sampleCount(groups);
  const rows = groups.flat();
  const problems = groups.map(problemResult);
  const overProblems = (measure: (problem: ProblemResult) => number, atOnce = 1): Interval =>
    clusteredShare(problems.map(measure), samplesPerProblem, 0.95, atOnce);
  const { label, checkpoint, task, split, seed, temperature, seconds, sampling, rows: file } = context;
  return {
    version: 1,
    label,
    checkpoint,
    task,
    split,
    seed,
    samplesPerProblem,
    temperature,
    n: groups.length,
    passAt1: overProblems((problem) => passAtK(problem.samples, problem.correct, 1)),
    passAt8:
      samplesPerProblem < 8
        ? null
        : overProblems((problem) => passAtK(problem.samples, problem.correct, 8), 8),
    format: overProblems((problem) => problem.formatOk / problem.samples),
    lengthMean: mean(rows.map((row) => row.tokens)),
    unverifiable: problems.reduce((total, problem) => total + problem.unverifiable, 0),
    stopReasons: stopReasons(rows),
    seconds,
    problems,
    transcripts: groups.map(transcript),
    intervals: 'wilson-clustered',
    details: detailsOf(rows, trainingStability),
    ...(sampling === undefined ? {} : { sampling }),
    ...(file === undefined ? {} : { rows: file }),
  };
}

type Rows = readonly EvaluationRow[];

function sampleCount(groups: readonly Rows[]): number {
  const first = groups[0]?.length ?? 0;
  if (first === 0) {
    throw new ReckonError(
      'data',
      'nothing-evaluated',
      'Expected at least one problem with one sample, found none; check the split and samplesPerProblem.',
    );
  }
  const odd = groups.find((group) => group.length !== first);
  if (odd === undefined) return first;
  throw new ReckonError(
    'data',
    'uneven-samples',
    `Expected ${first} samples of every problem, found ${odd.length} of ${odd[0]?.problemId ?? 'another'}; sample each equally often.`,
  );
}

function problemResult(rows: Rows): ProblemResult {
  const countOf = (test: (row: EvaluationRow) => boolean): number => rows.filter(test).length;
  return {
    id: rows[0]!.problemId,
    question: rows[0]!.question,
    samples: rows.length,
    correct: countOf(({ verdict }) => verdict === 'correct'),
    formatOk: countOf(({ formatOk }) => formatOk),
    unverifiable: countOf(({ verdict }) => verdict === 'unverifiable'),
  };
}

function stopReasons(rows: Rows): Record<StopReason, number> {
  const counts = { eos: 0, stop: 0, length: 0, aborted: 0 };
  for (const { stopReason } of rows) counts[stopReason]++;
  return counts;
}

function transcript(rows: Rows): Transcript {
  const { problemId, question, completion, verdict, reason, stopReason } = rows[0]!;
  return { problemId, question, completion, verdict, reason, stopReason };
}

/** Writes an evaluation in one step; an older file of that path is replaced. Throws `evaluation-invalid`. */
export function writeEvaluation(path: string, evaluation: Evaluation): void {
  const checked = evaluationSchema.safeParse(evaluation);
  if (!checked.success) {
    throw new ReckonError(
      'internal',
      'evaluation-invalid',
      `Expected an evaluation to write to ${path}, found: ${z.prettifyError(checked.error)}; make it with summarise.`,
    );
  }
  writeFileAtomic(path, `${JSON.stringify(checked.data, null, 1)}\n`);
}

/** Reads an evaluation. Throws `evaluation-unreadable` for a missing, torn or foreign file. */
export function readEvaluation(path: string): Evaluation {
  try {
    return evaluationSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (error) {
    const found = error instanceof z.ZodError ? z.prettifyError(error) : messageOf(error);
    throw new ReckonError(
      'data',
      'evaluation-unreadable',
      `Expected an evaluation file of version 1 at ${path}, found: ${found}; run its evaluate stage again.`,
      { cause: error },
    );
  }
}
