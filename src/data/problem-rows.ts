/** Owns the step from a data set's rows to problems by a mapping of columns. Reads no file and splits nothing. */

import { type Columns, textAt, valueAt } from './columns.ts';
import type { Problem } from './problem.ts';
import type { RowsBySplit } from './read-data.ts';
import type { BadRows, DataRow } from './rows.ts';
import { answerInSolution } from './solutions.ts';

/** The longest text of a column that a problem keeps in its `meta` though no part of it is made of that column. */
const KEPT_LENGTH = 200;

/**
 * The problems of a data set by split; ids are `name/split/row` unless a column has them, so they are stable between
 * runs. A row without a question or an answer, or with an id that was there before, is malformed.
 */
export function problemsOf(
  name: string,
  data: RowsBySplit,
  columns: Columns,
  bad: BadRows,
): Map<string, Problem[]> {
  const splits = new Map<string, Problem[]>();
  const ids = new Set<string>();
  for (const [split, rows] of data) {
    const problems = rows.flatMap((row, i) => {
      const problem = problemOf(`${name}/${split}/${i}`, row, columns, bad);
      if (problem === null) return [];
      if (ids.has(problem.id)) {
        bad.add({
          ...placeOf(row),
          column: columns.id ?? null,
          message: `the id ${problem.id} was there before`,
        });
        return [];
      }
      ids.add(problem.id);
      return [{ ...problem, meta: { ...problem.meta, split } }];
    });
    splits.set(split, problems);
  }
  return splits;
}

function problemOf(ownId: string, row: DataRow, columns: Columns, bad: BadRows): Problem | null {
  const id = columns.id === undefined ? ownId : textAt(row, columns.id, bad);
  const question = textAt(row, columns.question, bad);
  const reference = question === null ? null : referenceOf(row, columns, bad);
  if (id === null || question === null || reference === null) return null;
  const solution = columns.solution === undefined ? undefined : valueAt(row.values, columns.solution);
  return {
    id,
    question: question.trim(),
    reference,
    meta: { ...rest(row, columns), ...(typeof solution === 'string' ? { solution } : {}) },
  };
}

/** The answer's own column where the row has one, else what its solution ends in. */
function referenceOf(row: DataRow, columns: Columns, bad: BadRows): string | null {
  const { answer, solution } = columns;
  const own = answer === undefined ? undefined : valueAt(row.values, answer);
  if (answer !== undefined && (solution === undefined || (own !== undefined && own !== null && own !== ''))) {
    const text = textAt(row, answer, bad);
    return text === null ? null : (markedAnswer(text) ?? text.trim());
  }
  const text = textAt(row, solution ?? 'answer', bad);
  const found = text === null ? null : answerInSolution(text);
  if (text !== null && found === null) {
    const message = 'expected a solution with #### or \\boxed{} around its answer, found neither';
    bad.add({ ...placeOf(row), column: solution ?? 'answer', message });
  }
  return found;
}

/** A column that is said to hold the answer may hold GSM8K's whole solution. */
function markedAnswer(text: string): string | null {
  return text.includes('####') ? answerInSolution(text) : null;
}

/** Short values of the other columns (level, subject, source, ...), which filters may ask for. */
function rest({ values }: DataRow, columns: Columns): Record<string, string | number | boolean> {
  const used: readonly (string | undefined)[] = Object.values(columns);
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string | number | boolean] => {
      const [key, value] = entry;
      if (used.includes(key)) return false;
      if (typeof value === 'string') return value.length <= KEPT_LENGTH;
      return typeof value === 'number' || typeof value === 'boolean';
    }),
  );
}

function placeOf({ file, line }: DataRow): { file: string; line: number } {
  return { file, line };
}
