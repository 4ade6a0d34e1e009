/** Owns countdown puzzles from data files: which columns hold numbers and target. Judges no answer. */

import { valueAt } from './columns.ts';
import { countdownProblem } from './countdown.ts';
import type { Problem } from './problem.ts';
import type { RowsBySplit } from './read-data.ts';
import type { BadRows, DataRow } from './rows.ts';

/** The columns of the known data sets: reasoning-gym, TinyZero, and the plainest names. */
const COLUMNS = [
  { numbers: 'metadata.numbers', target: 'metadata.target', expression: 'metadata.expression' },
  { numbers: 'nums', target: 'target', expression: 'expression' },
  { numbers: 'numbers', target: 'target', expression: 'expression' },
] as const;

/** Puzzles by split, and how many rows were left out because their puzzle was there before. */
export interface CountdownSet {
  readonly splits: ReadonlyMap<string, readonly Problem[]>;
  readonly repeated: number;
}

/**
 * The puzzles of a data set; the reference is the published expression, which may be wrong, or ''. Numbers are a list, or
 * text such as `3 5 7` or `[3, 5, 7]`. Of equal numbers and targets the first stays, whatever its split.
 */
export function countdownOf(data: RowsBySplit, bad: BadRows): CountdownSet {
  const seen = new Set<string>();
  let repeated = 0;
  const splits = new Map<string, Problem[]>();
  for (const [split, rows] of data) {
    const problems: Problem[] = [];
    for (const row of rows) {
      const problem = puzzleOf(row, bad);
      if (problem === null) continue;
      if (seen.has(problem.id)) {
        repeated++;
        continue;
      }
      seen.add(problem.id);
      problems.push({ ...problem, meta: { ...problem.meta, split } });
    }
    splits.set(split, problems);
  }
  return { splits, repeated };
}

function puzzleOf(row: DataRow, bad: BadRows): Problem | null {
  const { file, line, values } = row;
  const columns = COLUMNS.find(({ numbers }) => valueAt(values, numbers) !== undefined);
  if (columns === undefined) {
    const message = 'expected the numbers in metadata.numbers, nums or numbers, found none of these columns';
    bad.add({ file, line, column: null, message });
    return null;
  }
  const numbers = wholeNumbers(valueAt(values, columns.numbers));
  const target = wholeNumbers([valueAt(values, columns.target)])?.[0];
  if (numbers === null || numbers.length < 2 || target === undefined) {
    const column = target === undefined ? columns.target : columns.numbers;
    const expected = target === undefined ? 'a whole number' : 'two or more whole numbers';
    bad.add({
      file,
      line,
      column,
      message: `expected ${expected}, found ${JSON.stringify(valueAt(values, column))}`,
    });
    return null;
  }
  const expression = valueAt(values, columns.expression);
  return countdownProblem(numbers, target, typeof expression === 'string' ? expression.trim() : '');
}

function wholeNumbers(value: unknown): number[] | null {
  const parts: readonly unknown[] =
    typeof value === 'string'
      ? value
          .replace(/^\s*\[|\]\s*$/g, '')
          .split(/[\s,]+/)
          .filter((part) => part !== '')
      : Array.isArray(value)
        ? value
        : [];
  const numbers = parts.map((part) =>
    typeof part === 'string' && /^-?\d{1,15}$/.test(part) ? Number(part) : part,
  );
  return numbers.length > 0 && numbers.every(Number.isSafeInteger) ? (numbers as number[]) : null;
}
