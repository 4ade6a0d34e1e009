/** Owns the checking of a 24-game trace line by line with exact fractions: what is a slip, and how many there are. */

import { apply, canReach24, type Operator } from '../data/game24-solver.ts';
import { equal, type Fraction, formatFraction, fraction } from '../util/fraction.ts';
import { judgeGame24 } from './game24.ts';

/** How many lines a trace has, and how many of them are wrong. */
export interface ProcessCheck {
  readonly lines: number;
  readonly errors: number;
}

/** A line of a trace with its verdict, and where the search stood before it. */
export interface CheckedLine {
  readonly line: string;
  readonly right: boolean;
  readonly state: readonly Fraction[];
  /** The steps of this attempt. */
  readonly made: readonly TraceStep[];
  /** Whether `x` would be right here; found by search when asked. */
  hopeless(): boolean;
}

/** How many lines a trace has, and how many of them are wrong. `finished` says that the last line is whole. */
export function checkProcess(numbers: readonly number[], text: string, finished: boolean): ProcessCheck {
  const lines = checkedLines(numbers, text, finished);
  return { lines: lines.length, errors: lines.filter((line) => !line.right).length };
}

/**
 * A step is right when its operands are in the state, its result is exact, and it shows the state that follows; `x`
 * when the state that it gives up cannot reach 24 and was not given up before; the answer when it is correct. After a
 * wrong line the state is what that line claims, so that one slip counts once.
 */
export function checkedLines(numbers: readonly number[], text: string, finished: boolean): CheckedLine[] {
  const start = numbers.map((number) => fraction(number));
  const lines = text.split('\n');
  if (!finished) lines.pop();
  let state: readonly Fraction[] = start;
  let made: readonly TraceStep[] = [];
  const givenUp = new Set<string>();
  return lines.map((line) => {
    const key = state.map(formatFraction).sort().join(' ');
    // Without the memory, going round the same hopeless attempts is as good as searching on.
    const again = givenUp.has(key);
    const here = state;
    const before = { line, state, made, hopeless: () => here.length <= 3 && !again && !canReach24(here) };
    if (line === 'x') {
      givenUp.add(key);
      state = start;
      made = [];
      return { ...before, right: before.hopeless() };
    }
    if (line.startsWith('#'))
      return { ...before, right: judgeGame24(numbers, line.slice(1)).verdict === 'correct' };
    const step = readStep(line);
    const right = step !== null && follows(state, step);
    state = step?.after ?? state;
    if (step) made = [...made, step];
    return { ...before, right };
  });
}

/** A step line as it was read. */
export interface TraceStep {
  readonly left: Fraction;
  readonly operator: Operator;
  readonly right: Fraction;
  readonly after: readonly Fraction[];
}

const stepPattern = /^(\d{1,6}(?::\d{1,6})?)([+\-*/])(\d{1,6}(?::\d{1,6})?)=([\d: ]{1,40})$/;

function readStep(line: string): TraceStep | null {
  const match = stepPattern.exec(line);
  if (!match) return null;
  const left = readNumber(match[1]!);
  const right = readNumber(match[3]!);
  const after = match[4]!.split(' ').map(readNumber);
  if (left === null || right === null || after.some((number) => number === null)) return null;
  return { left, operator: match[2] as Operator, right, after: after as Fraction[] };
}

function readNumber(text: string): Fraction | null {
  const match = /^(\d{1,6})(?::(\d{1,6}))?$/.exec(text);
  if (!match || Number(match[2] ?? 1) === 0) return null;
  return fraction(Number(match[1]), Number(match[2] ?? 1));
}

function follows(state: readonly Fraction[], { left, operator, right, after }: TraceStep): boolean {
  const rest = without(without(state, left), right);
  const value = apply(left, operator, right);
  if (rest === null || value === null) return false;
  const expected = [value, ...rest];
  let unseen: readonly Fraction[] | null = expected;
  for (const number of after) unseen = without(unseen, number);
  return unseen !== null && unseen.length === 0;
}

/** The list without one element of that value, or null where there is none. */
function without(list: readonly Fraction[] | null, value: Fraction): readonly Fraction[] | null {
  const place = list?.findIndex((number) => equal(number, value)) ?? -1;
  return place < 0 ? null : list!.toSpliced(place, 1);
}
