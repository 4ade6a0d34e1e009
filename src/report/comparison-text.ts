/** Owns what `reckon compare` prints: the sets, the pairs, problems won and lost. Compares nothing. */

import type { ProblemAnswers } from '../evaluate/answer-set.ts';
import type { Comparison, SetComparison, SharedProblem } from '../evaluate/compare.ts';
import {
  formatNumber,
  formatPercent,
  formatTable,
  type Painter,
  printable,
  wrapText,
} from '../util/format.ts';
import { intervalText } from './results.ts';

const PLAIN: Painter = (_style, text) => text;
const MOST_LINES = 20;

/** The comparison as text; `show` transcripts of problems won, and as many lost, for each pair. */
export function comparisonText(comparison: SetComparison, show = 1, paint: Painter = PLAIN): string {
  const { shared, leftOut, otherQuestions, pairs } = comparison;
  const missing = leftOut.filter((count) => count > 0).length;
  const note =
    missing > 0 ? ` ${Math.max(...leftOut)} at most are left out because some set lacks them.` : '';
  const doubt =
    otherQuestions > 0
      ? ` ${otherQuestions} of them have other questions under the same id: are the answers to the same problems?`
      : '';
  return [
    wrapText(`${shared} shared problems.${note}${doubt}`),
    formatTable(setsTable(comparison), ['left']),
    formatTable(pairsTable(comparison), ['left', 'left']),
    paint('dim', wrapText(CAPTION)),
    ...pairs.flatMap((pair) => pairTranscripts(pair, show, paint)),
  ].join('\n\n');
}

/** What the columns mean. */
export const CAPTION: string =
  'difference: share of right answers of b less that of a, 95 % interval from 10,000 paired bootstrap samples of problems. ' +
  "only a, only b, p: McNemar's exact test on the first answer to each problem; p (Holm) corrects for the number of pairs. " +
  'won, lost: problems of which b has the larger, the smaller share of right samples. ' +
  "steps: share of the expressions in a's steps that b's have too.";

/** Header and rows of the sets. */
export function setsTable({ sets }: SetComparison): string[][] {
  const rows = sets.map(({ name, samples, passAt1, format, meanTokens }) => [
    name,
    String(samples),
    intervalText(passAt1),
    formatPercent(format),
    formatNumber(meanTokens, 3),
  ]);
  return [['set', 'samples', 'pass@1', 'format', 'tokens'], ...rows];
}

/** Header and rows of the pairs. */
export function pairsTable({ pairs }: SetComparison): string[][] {
  const points = (value: number): string => `${value > 0 ? '+' : ''}${(100 * value).toFixed(1)}`;
  const rows = pairs.map(({ a, b, difference, mcnemar, adjustedP, won, lost, stepCoverage }) => [
    a,
    b,
    `${points(difference.difference)} [${points(difference.low)}, ${points(difference.high)}]`,
    String(mcnemar.onlyA),
    String(mcnemar.onlyB),
    formatNumber(mcnemar.pValue, 2),
    formatNumber(adjustedP, 2),
    String(won.length),
    String(lost.length),
    formatPercent(stepCoverage),
  ]);
  return [['a', 'b', 'difference', 'only a', 'only b', 'p', 'p (Holm)', 'won', 'lost', 'steps'], ...rows];
}

function pairTranscripts(pair: Comparison, show: number, paint: Painter): string[] {
  const side = (title: string, problems: readonly SharedProblem[]): string[] =>
    problems.slice(0, show).map((problem) => {
      const head = paint(
        'bold',
        `${pair.b} ${title} against ${pair.a}: ${oneLine(problem.a.question || problem.a.id)}`,
      );
      return [head, said(pair.a, problem.a, paint), said(pair.b, problem.b, paint)].join('\n');
    });
  return [...side('wins', pair.won), ...side('loses', pair.lost)];
}

function said(name: string, { answers, correct, samples }: ProblemAnswers, paint: Painter): string {
  const first = answers[0];
  const title = paint('dim', `${name}, ${correct} of ${samples} right`);
  if (first === undefined) return title;
  const lines = printable(first.completion).trimEnd().split('\n');
  const shown = lines.slice(0, MOST_LINES).map((line) => `  ${line}`);
  if (lines.length > MOST_LINES) shown.push(`  ... ${lines.length - MOST_LINES} more lines`);
  const verdict = paint(first.correct ? 'green' : 'red', `[${printable(first.reason)}]`);
  return [`${title} ${verdict}`, ...shown].join('\n');
}

function oneLine(text: string): string {
  return printable(text).replaceAll('\n', ' ').slice(0, 200);
}
