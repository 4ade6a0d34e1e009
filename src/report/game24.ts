/**
 * Owns the report of the 24 game: right answers, roll-backs, invalid and repeated lines and length, by format and by how hard
 * a puzzle is. Judges no answer.
 */

import { apply, canReach24, searchSteps } from '../data/game24-solver.ts';
import { equationsIn } from '../evaluate/arithmetic.ts';
import type { EvaluationRow } from '../evaluate/rows.ts';
import { checkProcess } from '../rewards/game24-process.ts';
import { formatNumber, formatPercent } from '../util/format.ts';
import { type Fraction, fraction } from '../util/fraction.ts';
import { mean } from '../util/statistics.ts';

/** How a completion is written: reckon's traces, or LLM4Game24's search with expressions (v3), values (v2), no way back (v1). */
export type Game24Format = 'trace' | 'v1' | 'v2' | 'v3';

/** What one completion's lines are like. */
export interface Game24Lines {
  readonly format: Game24Format;
  readonly lines: number;
  readonly rollbacks: number;
  /** Lines that break the format or the arithmetic, or (in traces) do not follow from the numbers. */
  readonly invalid: number;
  /** Lines that stood there before, roll-backs left out. */
  readonly repeated: number;
}

/** How hard a puzzle is, by exact search. */
export type Difficulty = 'many ways' | 'some ways' | 'few ways' | 'fractions needed';

/** Hardest last. */
export const DIFFICULTIES: readonly Difficulty[] = ['many ways', 'some ways', 'few ways', 'fractions needed'];

/** Counts a completion's lines. */
export function game24Lines(numbers: readonly number[], completion: string, finished: boolean): Game24Lines {
  const lines = completion.split('\n').filter((line) => line !== '');
  const format = formatOf(completion);
  const isBack = (line: string): boolean => line === 'x' || line.includes('roll back');
  const steps = lines.filter((line) => !isBack(line));
  return {
    format,
    lines: lines.length,
    rollbacks: lines.length - steps.length,
    invalid:
      format === 'trace' ? checkProcess(numbers, completion, finished).errors : steps.filter(broken).length,
    repeated: steps.length - new Set(steps).size,
  };
}

function formatOf(completion: string): Game24Format {
  if (!/left:|expression:/.test(completion)) return 'trace';
  if (/left:[^\n]*=/.test(completion)) return 'v3';
  return completion.includes('roll back') ? 'v2' : 'v1';
}

/** A line of a written search that is neither an answer nor a step whose equation holds. */
function broken(line: string): boolean {
  if (line.includes('expression:')) return false;
  const step = /^(\([^()]*\) [-+*/] \([^()]*\) = [^,]*), left: ./.exec(line);
  return step === null || !equationsIn(step[1]!).every(({ holds }) => holds);
}

/**
 * `fractions needed` where no way keeps to whole numbers; else by the share of first steps that still lead to 24: above a
 * quarter, above a tenth, or fewer.
 */
export function difficultyOf(numbers: readonly number[]): Difficulty {
  const state = numbers.map((number) => fraction(number));
  if (!wholeWay(state)) return 'fractions needed';
  const steps = searchSteps(state);
  const share = steps.filter((step) => canReach24(step.remaining)).length / steps.length;
  return share > 0.25 ? 'many ways' : share > 0.1 ? 'some ways' : 'few ways';
}

function wholeWay(state: readonly Fraction[]): boolean {
  if (state.length === 1) return canReach24(state);
  return searchSteps(state).some(
    ({ left, operator, right, remaining }) =>
      apply(left, operator, right)?.denominator === 1 && canReach24(remaining) && wholeWay(remaining),
  );
}

/** The numbers of a row's puzzle, or null where it is of another task. */
export function numbersOfRow({ problemId }: Pick<EvaluationRow, 'problemId'>): number[] | null {
  const match = /^game24\/(\d{1,3}(?:-\d{1,3}){1,7})$/.exec(problemId);
  return match === null ? null : match[1]!.split('-').map(Number);
}

/** Header and rows: all samples, by format where there are several, by difficulty. Null for rows of another task. */
export function game24Table(rows: readonly EvaluationRow[]): string[][] | null {
  const hard = new Map<string, Difficulty>();
  const counted = rows.flatMap((row) => {
    const numbers = numbersOfRow(row);
    if (numbers === null) return [];
    const difficulty = hard.get(row.problemId) ?? difficultyOf(numbers);
    hard.set(row.problemId, difficulty);
    const finished = row.stopReason === 'eos' || row.stopReason === 'stop';
    return [{ row, difficulty, ...game24Lines(numbers, row.completion, finished) }];
  });
  if (counted.length === 0 || counted.length < rows.length) return null;
  const formats = [...new Set(counted.map((one) => one.format))].sort();
  const groups = [
    ['all', counted] as const,
    ...(formats.length > 1 ? formats : []).map(
      (format) => [`format ${format}`, counted.filter((one) => one.format === format)] as const,
    ),
    ...DIFFICULTIES.map((level) => [level, counted.filter((one) => one.difficulty === level)] as const),
  ];
  const head = [
    'puzzles',
    'samples',
    'right',
    'format',
    'roll-backs',
    'invalid lines',
    'repeated lines',
    'lines',
    'tokens',
  ];
  const lines = groups
    .filter(([, list]) => list.length > 0)
    .map(([name, list]) => {
      const over = (measure: (one: (typeof list)[number]) => number): number => mean(list.map(measure));
      return [
        name,
        String(list.length),
        formatPercent(over(({ row }) => Number(row.verdict === 'correct'))),
        formatPercent(over(({ row }) => Number(row.formatOk))),
        ...[
          over((one) => one.rollbacks),
          over((one) => one.invalid),
          over((one) => one.repeated),
          over((one) => one.lines),
          over(({ row }) => row.tokens),
        ].map((value) => formatNumber(value, 3)),
      ];
    });
  return [head, ...lines];
}
