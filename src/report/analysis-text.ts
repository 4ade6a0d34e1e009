/** Owns what `reckon analyze` prints: cells, classes of errors, examples. Counts nothing. */

import type { Analysis, Cell } from '../evaluate/analysis.ts';
import { ERROR_MEANING } from '../evaluate/error-class.ts';
import type { EvaluationRow } from '../evaluate/rows.ts';
import { formatPercent, formatTable, type Painter, printable } from '../util/format.ts';

const PLAIN: Painter = (_style, text) => text;
const MOST_LINES = 20;

const CELLS: readonly (readonly [cell: Cell, title: string])[] = [
  ['both', 'format kept, answer right'],
  ['formatOnly', 'format kept, answer wrong'],
  ['neither', 'format not kept, answer wrong'],
  ['answerOnly', 'format not kept, answer right'],
];

/** Header and rows of the cells; the fourth only where there is a sample in it. */
export function cellsTable({ cells, samples }: Analysis): string[][] {
  const rows = CELLS.filter(([cell]) => cell !== 'answerOnly' || cells[cell] > 0).map(([cell, title]) => [
    title,
    String(cells[cell]),
    formatPercent(cells[cell] / samples),
  ]);
  return [['cell', 'samples', 'share'], ...rows];
}

/** Header and rows of the classes of errors. */
export function errorsTable({ errors, samples }: Analysis): string[][] {
  const rows = errors.map(({ errorClass, count }) => [
    errorClass,
    String(count),
    formatPercent(count / samples),
    ERROR_MEANING[errorClass],
  ]);
  return [['error', 'samples', 'share', 'meaning'], ...rows];
}

/** The analysis as text, examples of each cell and class at the end. */
export function analysisText(name: string, analysis: Analysis, paint: Painter = PLAIN): string {
  const examples = [
    ...CELLS.flatMap(([cell, title]) => analysis.examples[cell].map((row) => exampleText(title, row, paint))),
    ...analysis.errors.flatMap(({ errorClass, examples: rows }) =>
      rows.map((row) => exampleText(errorClass, row, paint)),
    ),
  ];
  const reasons = analysis.reasons.map(([reason, count]) => [
    reason,
    String(count),
    formatPercent(count / analysis.samples),
  ]);
  return [
    paint('bold', `${name}: ${analysis.samples} samples`),
    formatTable(cellsTable(analysis), ['left']),
    ...(analysis.errors.length > 0
      ? [formatTable(errorsTable(analysis), ['left', 'right', 'right', 'left'])]
      : []),
    formatTable([['the grader said', 'samples', 'share'], ...reasons], ['left']),
    ...examples,
  ].join('\n\n');
}

function exampleText(title: string, row: EvaluationRow, paint: Painter): string {
  const lines = printable(row.completion).trimEnd().split('\n');
  const shown = lines.slice(0, MOST_LINES).map((line) => `  ${line}`);
  if (lines.length > MOST_LINES) shown.push(`  ... ${lines.length - MOST_LINES} more lines`);
  const question = printable(row.question).replaceAll('\n', ' ').slice(0, 200);
  const answer = `answer ${row.answer === null ? 'not found' : printable(row.answer)}, reference ${printable(row.solution)}`;
  const style = row.verdict === 'correct' ? 'green' : 'red';
  return [
    `${paint('bold', `${title}: ${question}`)} ${paint(style, `[${printable(row.reason)}]`)}`,
    paint('dim', answer),
    ...shown,
  ].join('\n');
}
