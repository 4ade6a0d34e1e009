/** Owns what an evaluation's rows say beyond its numbers: the cells of format and answer, and classes of errors. */

import { type Cells, cellsOf } from './details.ts';
import { ERROR_CLASSES, type ErrorClass, errorClass } from './error-class.ts';
import type { EvaluationRow } from './rows.ts';

/** A cell of format kept or not and answer right or not. */
export type Cell = keyof Cells;

/** A class of errors with how many samples are in it, and examples. */
export interface ErrorCount {
  readonly errorClass: ErrorClass;
  readonly count: number;
  readonly examples: readonly EvaluationRow[];
}

/** What {@link analyze} finds. */
export interface Analysis {
  readonly samples: number;
  readonly cells: Cells;
  readonly examples: Readonly<Record<Cell, readonly EvaluationRow[]>>;
  /** Most frequent first; empty classes are left out. */
  readonly errors: readonly ErrorCount[];
  /** How often the grader gave each reason, most frequent first. */
  readonly reasons: readonly (readonly [reason: string, count: number])[];
}

/** Counts cells, errors and reasons; `examples` of each, spread evenly over the rows rather than picked. */
export function analyze(rows: readonly EvaluationRow[], examples = 2): Analysis {
  const inCell = (format: boolean, answer: boolean): EvaluationRow[] =>
    spread(
      rows.filter((row) => row.formatOk === format && (row.verdict === 'correct') === answer),
      examples,
    );
  const classes = rows.map(errorClass);
  const errors = ERROR_CLASSES.map((name): ErrorCount => {
    const those = rows.filter((_, i) => classes[i] === name);
    return { errorClass: name, count: those.length, examples: spread(those, examples) };
  });
  const reasons = new Map<string, number>();
  for (const { reason } of rows) reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  return {
    samples: rows.length,
    cells: cellsOf(rows),
    examples: {
      both: inCell(true, true),
      formatOnly: inCell(true, false),
      answerOnly: inCell(false, true),
      neither: inCell(false, false),
    },
    errors: errors.filter(({ count }) => count > 0).sort((a, b) => b.count - a.count),
    reasons: [...reasons].sort((a, b) => b[1] - a[1]),
  };
}

/** At most `count` of a list, at even distances. */
export function spread<T>(list: readonly T[], count: number): T[] {
  const chosen = Math.min(count, list.length);
  return Array.from({ length: chosen }, (_, i) => list[Math.floor(((i + 0.5) * list.length) / chosen)]!);
}
