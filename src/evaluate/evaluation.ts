/** Owns the numbers of one evaluation and its file `evaluations/<label>.json`. Samples nothing and judges nothing. */

import { readFileSync } from 'node:fs';
import { z } from 'zod';
import type { Scored } from '../rewards/reward.ts';
import type { ScoredGroup } from '../rewards/score.ts';
import type { StopReason } from '../rollouts/rollout.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { Rng } from '../util/rng.ts';
import { bootstrapMean, type Interval, mean, passAtK } from '../util/statistics.ts';

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
  readonly verdict: Scored['judgement']['verdict'];
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
}

/**
 * One evaluation as its file holds it. Shares lie in [0, 1]; low and high end 95 % percentile-bootstrap intervals over
 * problems. An unverifiable sample counts as not correct and has its own column.
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
});

/**
 * The numbers of scored samples grouped by problem. The intervals depend on the samples and the seed alone. Throws
 * `nothing-evaluated` without samples and `uneven-samples` where problems have different numbers of them.
 */
export function summarise(context: EvaluationContext, groups: readonly ScoredGroup[]): Evaluation {
  const samplesPerProblem = sampleCount(groups);
  const problems = groups.map(problemResult);
  const all = groups.flatMap((group) => group.scored);
  const overProblems = (name: string, measure: (problem: ProblemResult) => number): Interval =>
    bootstrapMean(problems.map(measure), new Rng({ seed: context.seed, purpose: 'bootstrap', id: name }));
  const { label, checkpoint, task, split, seed, temperature, seconds } = context;
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
    passAt1: overProblems('pass@1', (problem) => passAtK(problem.samples, problem.correct, 1)),
    passAt8:
      samplesPerProblem < 8
        ? null
        : overProblems('pass@8', (problem) => passAtK(problem.samples, problem.correct, 8)),
    format: overProblems('format', (problem) => problem.formatOk / problem.samples),
    lengthMean: mean(all.map(({ rollout }) => rollout.completionIds.length)),
    unverifiable: problems.reduce((total, problem) => total + problem.unverifiable, 0),
    stopReasons: stopReasons(all),
    seconds,
    problems,
    transcripts: groups.map(transcript),
  };
}

function sampleCount(groups: readonly ScoredGroup[]): number {
  const first = groups[0]?.scored.length ?? 0;
  if (first === 0) {
    throw new ReckonError(
      'data',
      'nothing-evaluated',
      'Expected at least one problem with one sample, found none; check the split and samplesPerProblem.',
    );
  }
  const odd = groups.find((group) => group.scored.length !== first);
  if (odd === undefined) return first;
  throw new ReckonError(
    'data',
    'uneven-samples',
    `Expected ${first} samples of every problem, found ${odd.scored.length} of ${odd.problem.id}; sample each equally often.`,
  );
}

function problemResult({ problem, scored }: ScoredGroup): ProblemResult {
  const countOf = (test: (sample: Scored) => boolean): number => scored.filter(test).length;
  return {
    id: problem.id,
    question: problem.question,
    samples: scored.length,
    correct: countOf(({ judgement }) => judgement.verdict === 'correct'),
    formatOk: countOf(({ formatOk }) => formatOk),
    unverifiable: countOf(({ judgement }) => judgement.verdict === 'unverifiable'),
  };
}

function stopReasons(scored: readonly Scored[]): Record<StopReason, number> {
  const counts = { eos: 0, stop: 0, length: 0, aborted: 0 };
  for (const { rollout } of scored) counts[rollout.stopReason]++;
  return counts;
}

function transcript({ problem, scored }: ScoredGroup): Transcript {
  const { rollout, judgement } = scored[0]!;
  return {
    problemId: problem.id,
    question: problem.question,
    completion: rollout.text,
    verdict: judgement.verdict,
    reason: judgement.reason,
    stopReason: rollout.stopReason,
  };
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
