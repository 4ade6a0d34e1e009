/** Owns what `reckon evaluate` prints: a table of evaluations, and each one's further numbers. Writes to no stream. */

import type { AtK, EvaluationDetails } from '../evaluate/details.ts';
import type { Evaluation } from '../evaluate/evaluation.ts';
import { overSeeds } from '../evaluate/intervals.ts';
import { formatNumber, formatPercent, formatTable, wrapText } from '../util/format.ts';
import { intervalText, resultsCaption, resultsTable } from './results.ts';

/** The table of several evaluations and the details of the last one. */
export function evaluationText(evaluations: readonly Evaluation[]): string {
  const last = evaluations.at(-1);
  const blocks = [
    formatTable(resultsTable(evaluations), ['left', 'left']),
    wrapText(resultsCaption(evaluations)),
    ...(last === undefined ? [] : [detailsText(last)]),
    ...(evaluations.length > 1 ? [spreadText(evaluations)] : []),
  ];
  return blocks.filter((block) => block !== '').join('\n\n');
}

/** Header and rows of pass@k and maj@k; empty where only one sample was drawn. */
export function atKTable({ details }: Evaluation): string[][] {
  if (details === undefined || details.passAtK.length < 2) return [];
  const cell = (list: readonly AtK[], k: number): string =>
    intervalText(list.find((one) => one.k === k) ?? null);
  const rows = details.passAtK.map(({ k }) => [String(k), cell(details.passAtK, k), cell(details.majAtK, k)]);
  return [['k', 'pass@k', 'maj@k'], ...rows];
}

/** Header and rows of one evaluation's numbers beyond the results table. */
export function factsTable({ details, distances, stopReasons, sampling }: Evaluation): string[][] {
  const facts: [string, string][] = [];
  const total = Object.values(stopReasons).reduce((a, b) => a + b, 0);
  if (details !== undefined) {
    const { cells, lengths, measures, overall } = details;
    const share = (count: number): string => `${count} (${formatPercent(count / Math.max(1, total))})`;
    facts.push(
      ['format kept and answer right', `${intervalText(overall)}`],
      ['  samples with both', share(cells.both)],
      ['  format only', share(cells.formatOnly)],
      ['  answer only', share(cells.answerOnly)],
      ['  neither', share(cells.neither)],
      ['tokens: median, 90 %, longest', [lengths.median, lengths.p90, lengths.longest].map(short).join(', ')],
      ['tokens of right, wrong answers', [lengths.correctMean, lengths.incorrectMean].map(short).join(', ')],
      ['exact match', formatPercent(measures.exactMatch)],
      ['numerical accuracy', formatPercent(measures.numericalAccuracy)],
      ['partial correctness', formatNumber(measures.partialCorrectness, 3)],
      [compositeName(measures, distances), short(measures.compositeScore)],
      [
        'reasoning: steps, coverage, consistency',
        [measures.reasoningSteps, measures.stepCoverage ?? null, measures.logicalConsistency]
          .map(short)
          .join(', '),
      ],
      ['reasoning score', short(measures.reasoningScore)],
    );
  }
  const ends = Object.entries(stopReasons).filter(([, count]) => count > 0);
  facts.push([
    'ended by',
    ends.map(([reason, count]) => `${reason} ${formatPercent(count / total)}`).join(', '),
  ]);
  if (sampling?.skippedPrompts) facts.push(['left out for a long prompt', String(sampling.skippedPrompts)]);
  return [['measure', 'value'], ...facts];
}

/** The composite score with what it was made of. */
function compositeName(
  { compositeScore, trainingStability }: EvaluationDetails['measures'],
  distances: Evaluation['distances'],
): string {
  if (compositeScore === null) return 'composite score';
  const parts = [
    'accuracy',
    ...(distances === undefined ? [] : ['cosine']),
    ...((trainingStability ?? null) === null ? [] : ['stability']),
  ];
  return `composite score (${parts.join(', ')})`;
}

function short(value: number | null): string {
  return formatNumber(value, 3);
}

function detailsText(evaluation: Evaluation): string {
  const curve = atKTable(evaluation);
  const blocks = [formatTable(factsTable(evaluation), ['left', 'left'])];
  if (curve.length > 0) blocks.push(formatTable(curve, ['right']));
  return `${evaluation.label}:\n${blocks.join('\n\n')}`;
}

/** The spread of pass@1 where the same model was measured with several seeds. */
function spreadText(evaluations: readonly Evaluation[]): string {
  const seeds = new Set(evaluations.map(({ seed }) => seed));
  const models = new Set(evaluations.map(({ checkpoint }) => checkpoint));
  if (models.size > 1 || seeds.size < 2) return '';
  const { mean, std, low, high, n } = overSeeds(evaluations.map(({ passAt1 }) => passAt1.mean));
  const ends = `[${formatPercent(Math.max(0, low))}, ${formatPercent(Math.min(1, high))}]`;
  return `pass@1 over ${n} seeds: ${formatPercent(mean)}, standard deviation ${formatPercent(std)}, 95 % of the mean ${ends}`;
}
