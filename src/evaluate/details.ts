/** Owns the further numbers of an evaluation beyond pass@1: curves over k, cells, lengths, published measures. */

import { z } from 'zod';
import { logicalConsistency, reasoningScore, reasoningSteps } from '../text/reasoning.ts';
import { type Interval, mean, passAtK, quantile } from '../util/statistics.ts';
import { answerAccuracy, compositeScore, lastNumber } from './answers.ts';
import { clusteredShare } from './intervals.ts';
import { byProblem, type EvaluationRow } from './rows.ts';
import { majAtK } from './votes.ts';

/** An estimate for k samples of a problem. */
export interface AtK extends Interval {
  readonly k: number;
}

/** How many samples fall into each cell of format kept or not, answer right or not. */
export interface Cells {
  readonly both: number;
  readonly formatOnly: number;
  readonly answerOnly: number;
  readonly neither: number;
}

/** Completion lengths in tokens; null where there is no such sample. */
export interface Lengths {
  readonly median: number;
  readonly p90: number;
  readonly longest: number;
  readonly correctMean: number | null;
  readonly incorrectMean: number | null;
}

/** The measures of "Intrinsic reward distillation"; null where the task's references do not allow one. */
export interface PublishedMeasures {
  readonly exactMatch: number | null;
  readonly numericalAccuracy: number | null;
  readonly partialCorrectness: number | null;
  readonly compositeScore: number | null;
  readonly reasoningSteps: number;
  readonly logicalConsistency: number;
  readonly reasoningScore: number;
  /** Of the problems' worked solutions; null where they have none. Older files do not say. */
  readonly stepCoverage?: number | null | undefined;
  /** Of the training that made the model, a part of the composite score; null where it is too short or not known. */
  readonly trainingStability?: number | null | undefined;
}

/** What `reckon evaluate` measures beyond the numbers of every evaluation. */
export interface EvaluationDetails {
  /** The unbiased pass@k for k = 1, 2, 4, ... up to the samples. */
  readonly passAtK: readonly AtK[];
  /** The share of problems that a vote among k samples solves. */
  readonly majAtK: readonly AtK[];
  /** Format kept and answer right. */
  readonly overall: Interval;
  readonly cells: Cells;
  readonly lengths: Lengths;
  readonly measures: PublishedMeasures;
}

const share = z.number().min(0).max(1);
const atK = z.object({ k: z.int().positive(), mean: share, low: share, high: share });
const count = z.int().nonnegative();
const size = z.number().nonnegative();

/** The schema of an evaluation's details. */
export const detailsSchema: z.ZodType<EvaluationDetails> = z.object({
  passAtK: z.array(atK),
  majAtK: z.array(atK),
  overall: z.object({ mean: share, low: share, high: share }),
  cells: z.object({ both: count, formatOnly: count, answerOnly: count, neither: count }),
  lengths: z.object({
    median: size,
    p90: size,
    longest: size,
    correctMean: size.nullable(),
    incorrectMean: size.nullable(),
  }),
  measures: z.object({
    exactMatch: share.nullable(),
    numericalAccuracy: share.nullable(),
    partialCorrectness: share.nullable(),
    // A cosine, which is a part of it, can be negative.
    compositeScore: z.number().max(1).nullable(),
    reasoningSteps: size,
    logicalConsistency: share,
    reasoningScore: share,
    stepCoverage: share.nullable().optional(),
    trainingStability: share.nullable().optional(),
  }),
});

/**
 * The details of rows with the same number of samples for every problem, at least one each; `trainingStability` is that of
 * the model's training, where it is known.
 */
export function detailsOf(
  rows: readonly EvaluationRow[],
  trainingStability: number | null = null,
): EvaluationDetails {
  const problems = byProblem(rows);
  const samples = problems[0]?.length ?? 0;
  const over = (measure: (problem: readonly EvaluationRow[]) => number, atOnce = 1): Interval =>
    clusteredShare(problems.map(measure), samples, 0.95, atOnce);
  const ks = powersOfTwo(samples);
  return {
    passAtK: ks.map((k) => ({
      k,
      ...over((problem) => passAtK(samples, problem.filter(isCorrect).length, k), k),
    })),
    majAtK: ks.map((k) => ({ k, ...over((problem) => majAtK(problem.map(ballot), k), k) })),
    overall: over((problem) => mean(problem.map((row) => Number(isCorrect(row) && row.formatOk)))),
    cells: cellsOf(rows),
    lengths: lengthsOf(rows),
    measures: measuresOf(rows, trainingStability),
  };
}

/** 1, 2, 4, ... and the number itself. */
export function powersOfTwo(most: number): number[] {
  const powers: number[] = [];
  for (let k = 1; k < most; k *= 2) powers.push(k);
  return [...powers, most];
}

function isCorrect(row: EvaluationRow): boolean {
  return row.verdict === 'correct';
}

function ballot(row: EvaluationRow): { answer: string | null; correct: boolean } {
  return { answer: row.answer, correct: isCorrect(row) };
}

/** Counts the four cells. */
export function cellsOf(rows: readonly EvaluationRow[]): Cells {
  const counted = (format: boolean, answer: boolean): number =>
    rows.filter((row) => row.formatOk === format && isCorrect(row) === answer).length;
  return {
    both: counted(true, true),
    formatOnly: counted(true, false),
    answerOnly: counted(false, true),
    neither: counted(false, false),
  };
}

function lengthsOf(rows: readonly EvaluationRow[]): Lengths {
  const lengths = rows.map((row) => row.tokens);
  const meanOf = (correct: boolean): number | null => {
    const those = rows.filter((row) => isCorrect(row) === correct);
    return those.length === 0 ? null : mean(those.map((row) => row.tokens));
  };
  return {
    median: quantile(lengths, 0.5),
    p90: quantile(lengths, 0.9),
    longest: quantile(lengths, 1),
    correctMean: meanOf(true),
    incorrectMean: meanOf(false),
  };
}

function measuresOf(rows: readonly EvaluationRow[], trainingStability: number | null): PublishedMeasures {
  // A reference that all problems share (24) says nothing of an answer, which is then something else (an expression).
  const tells = new Set(rows.map((row) => row.solution)).size > 1;
  const numeric = tells && rows.every((row) => lastNumber(row.solution) !== null);
  const accuracy = answerAccuracy(rows.map((row) => ({ prediction: row.answer, reference: row.solution })));
  const covered = rows.flatMap((row) => row.stepCoverage ?? []);
  return withScores({
    exactMatch: tells ? accuracy.exactMatch : null,
    numericalAccuracy: numeric ? accuracy.numericalAccuracy : null,
    partialCorrectness: numeric ? accuracy.partialCorrectness : null,
    reasoningSteps: mean(rows.map((row) => reasoningSteps(row.completion).length)),
    logicalConsistency: mean(rows.map((row) => logicalConsistency(row.completion).overall)),
    stepCoverage: covered.length === 0 ? null : mean(covered),
    trainingStability,
  });
}

/** How near a model's distributions are to a teacher's. */
export interface Nearness {
  /** Of all logits as one vector. */
  readonly cosine: number;
  /** KL(teacher to student), nats a token. */
  readonly kl: number;
}

/** The measures with both scores that are made of them, and of the nearness to a teacher where it was measured. */
export function withScores(
  measures: Omit<PublishedMeasures, 'compositeScore' | 'reasoningScore'>,
  teacher?: Nearness,
): PublishedMeasures {
  const { numericalAccuracy, partialCorrectness, logicalConsistency, stepCoverage } = measures;
  const trainingStability = measures.trainingStability ?? undefined;
  return {
    ...measures,
    compositeScore:
      numericalAccuracy === null
        ? null
        : compositeScore({ numericalAccuracy, cosineSimilarity: teacher?.cosine, trainingStability }),
    reasoningScore: reasoningScore({
      coverage: stepCoverage ?? 0,
      consistency: logicalConsistency,
      correctness: partialCorrectness,
      kl: teacher?.kl ?? 0,
    }),
  };
}
