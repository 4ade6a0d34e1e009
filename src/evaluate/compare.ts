/** Owns the comparison of answer sets on the problems that they share: differences, tests, problems won and lost. */

import { mathExpressions, reasoningSteps, stepCoverage } from '../text/reasoning.ts';
import { ReckonError } from '../util/errors.ts';
import { type Interval, mean } from '../util/statistics.ts';
import type { AnswerSet, ProblemAnswers } from './answer-set.ts';
import { clusteredShare } from './intervals.ts';
import { type McNemar, mcnemar, type PairedDifference, pairedBootstrap } from './paired.ts';

/** A problem that two sets answer, with how much better the second is. */
export interface SharedProblem {
  readonly a: ProblemAnswers;
  readonly b: ProblemAnswers;
  /** Share of right answers of b less that of a. */
  readonly gain: number;
}

/** Two sets on the same problems. */
export interface Comparison {
  readonly a: string;
  readonly b: string;
  readonly shared: number;
  /** Of the share of right answers, b less a, drawn over problems in pairs. */
  readonly difference: PairedDifference;
  /** Of the first sample of each problem. */
  readonly mcnemar: McNemar;
  /** McNemar's p-value after Holm's correction for all comparisons that were made together. */
  readonly adjustedP: number;
  /** Problems that b does better, the largest gain first. */
  readonly won: readonly SharedProblem[];
  readonly lost: readonly SharedProblem[];
  /** Share of a's expressions that are in b's first answer, over problems where a has any; null where it never does. */
  readonly stepCoverage: number | null;
}

/** One set on the problems that all sets share. */
export interface SetSummary {
  readonly name: string;
  readonly problems: number;
  readonly samples: number;
  readonly passAt1: Interval;
  readonly format: number | null;
  readonly meanTokens: number | null;
}

/** What {@link compareSets} finds. */
export interface SetComparison {
  readonly shared: number;
  /** Problems of each set that some other lacks. */
  readonly leftOut: readonly number[];
  /** Shared problems whose questions are not the same everywhere: perhaps the sets are of other data. */
  readonly otherQuestions: number;
  readonly sets: readonly SetSummary[];
  /** The first set with every other, then those with each other. */
  readonly pairs: readonly Comparison[];
}

/** Compares two sets or more on the problems that all of them answer. Throws `too-few-sets` and `nothing-shared`. */
export function compareSets(sets: readonly AnswerSet[], seed = 0): SetComparison {
  if (sets.length < 2)
    throw new ReckonError(
      'usage',
      'too-few-sets',
      `Expected two sets of answers or more, found ${sets.length}`,
    );
  const maps = sets.map(({ problems }) => new Map(problems.map((problem) => [problem.id, problem])));
  const ids = sets[0]!.problems.map(({ id }) => id).filter((id) => maps.every((map) => map.has(id)));
  if (ids.length === 0)
    throw new ReckonError(
      'data',
      'nothing-shared',
      `${sets.map(({ name }) => name).join(', ')} answer no problem in common; compare evaluations of the same task and split`,
    );
  const answers = maps.map((map) => ids.map((id) => map.get(id)!));
  const pairs = sets.flatMap((a, i) =>
    sets.slice(i + 1).map((b, j) => comparePair(a.name, b.name, answers[i]!, answers[i + 1 + j]!, seed)),
  );
  const adjusted = holm(pairs.map((pair) => pair.mcnemar.pValue));
  return {
    shared: ids.length,
    leftOut: sets.map(({ problems }) => problems.length - ids.length),
    otherQuestions: ids.filter((id) => questionsOf(maps.map((map) => map.get(id)!)).size > 1).length,
    sets: sets.map(({ name }, i) => summaryOf(name, answers[i]!)),
    pairs: pairs.map((pair, i) => ({ ...pair, adjustedP: adjusted[i]! })),
  };
}

/** The questions that are told, but for spaces. */
function questionsOf(problems: readonly ProblemAnswers[]): Set<string> {
  const told = problems.map(({ question }) => question.replace(/\s+/g, ' ').trim());
  return new Set(told.filter((question) => question !== ''));
}

/** Holm's step-down correction (1979): p-values that keep the chance of any false discovery among them. */
export function holm(pValues: readonly number[]): number[] {
  const order = pValues.map((p, i) => ({ p, i })).sort((a, b) => a.p - b.p);
  const adjusted = new Array<number>(pValues.length);
  let largest = 0;
  for (const [rank, { p, i }] of order.entries()) {
    largest = Math.max(largest, Math.min(1, (pValues.length - rank) * p));
    adjusted[i] = largest;
  }
  return adjusted;
}

function comparePair(
  a: string,
  b: string,
  ofA: readonly ProblemAnswers[],
  ofB: readonly ProblemAnswers[],
  seed: number,
): Omit<Comparison, 'adjustedP'> {
  const shared = ofA.map((one, i) => ({ a: one, b: ofB[i]!, gain: share(ofB[i]!) - share(one) }));
  return {
    a,
    b,
    shared: shared.length,
    difference: pairedBootstrap(ofA.map(share), ofB.map(share), { seed }),
    mcnemar: mcnemar(ofA.map(firstRight), ofB.map(firstRight)),
    won: shared.filter(({ gain }) => gain > 0).sort((x, y) => y.gain - x.gain),
    lost: shared.filter(({ gain }) => gain < 0).sort((x, y) => x.gain - y.gain),
    stepCoverage: coverageOf(ofA, ofB),
  };
}

function share({ correct, samples }: ProblemAnswers): number {
  return correct / samples;
}

function firstRight({ answers, correct, samples }: ProblemAnswers): boolean {
  return answers[0]?.correct ?? correct === samples;
}

function coverageOf(teacher: readonly ProblemAnswers[], student: readonly ProblemAnswers[]): number | null {
  const shares = teacher.flatMap(({ answers }, i) => {
    const theirs = reasoningSteps(answers[0]?.completion ?? '');
    const own = reasoningSteps(student[i]!.answers[0]?.completion ?? '');
    return theirs.flatMap(mathExpressions).length === 0 ? [] : [stepCoverage(own, theirs).coverage];
  });
  return shares.length === 0 ? null : mean(shares);
}

function summaryOf(name: string, problems: readonly ProblemAnswers[]): SetSummary {
  const samples = Math.round(mean(problems.map((problem) => problem.samples)));
  const format = problems.map((problem) =>
    problem.formatOk === null ? null : problem.formatOk / problem.samples,
  );
  const tokens = problems.map((problem) => problem.meanTokens);
  const over = (values: readonly (number | null)[]): number | null =>
    values.includes(null) ? null : mean(values as readonly number[]);
  return {
    name,
    problems: problems.length,
    samples,
    passAt1: clusteredShare(problems.map(share), samples),
    format: over(format),
    meanTokens: over(tokens),
  };
}
