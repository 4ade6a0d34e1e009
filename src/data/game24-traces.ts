/**
 * Owns the chain-of-thought format of the 24 game: how a search for 24 is written down, and how it is read back.
 * Judges no answer.
 *
 * A step line is `a op b=c rest`: two numbers of the state, their result, and the other numbers, so that every line
 * shows the whole state. `x` gives an attempt up and goes back to the four numbers; `#` begins the answer.
 */

import { type Fraction, formatFraction, fraction } from '../util/fraction.ts';
import type { Rng } from '../util/rng.ts';
import { canReach24, type SolutionStep, searchSteps } from './game24-solver.ts';

/** Characters of prompts and traces; `:` is the bar of a fraction such as 8:3. */
export const alphabet: readonly string[] = [...'0123456789+-*/()=# \n:x'];

/** How demonstrations look. */
export interface TraceOptions {
  /** Most attempts, the successful one included. */
  readonly attempts: number;
  /** Chance of another failed attempt before the one that succeeds. */
  readonly failure: number;
}

/** A step that was taken; the rest of the state does not matter to the answer. */
export type MadeStep = Pick<SolutionStep, 'left' | 'operator' | 'right' | 'value'>;

/** A parsed completion. */
export interface ParsedTrace {
  /** Every line keeps the grammar, the states shrink from four numbers to one, and an answer ends it. */
  readonly ok: boolean;
  /** The expression after the last `#`, or null. */
  readonly answer: string | null;
  /** Attempts that were given up. */
  readonly rollbacks: number;
}

const demonstrated: TraceOptions = { attempts: 4, failure: 0.5 };
/** Larger intermediate results are avoided where there is a choice: they are rarely needed and hard to learn. */
const largest = 99;

/** The prompt: the four numbers in this order and a line's end. */
export function promptText(numbers: readonly number[]): string {
  return `${numbers.join(' ')}\n`;
}

/**
 * A demonstration for numbers in this order: up to three failed attempts of two steps, none given up at the same state
 * as another, a solution, the answer.
 */
export function writeTrace(
  numbers: readonly number[],
  rng: Rng,
  options: TraceOptions = demonstrated,
): string {
  const start = numbers.map((number) => fraction(number));
  const kind = movesOf(start, false).solving.length > 0 ? 'whole' : 'fractions';
  const lines: string[] = [];
  const givenUp = new Set<string>();
  for (let i = 1; i < options.attempts && rng.uniform() < options.failure; i++) {
    lines.push(...failedAttempt(start, kind === 'fractions', givenUp, rng));
  }
  const steps: SolutionStep[] = [];
  for (let state: readonly Fraction[] = start; state.length > 1; ) {
    const step = rng.pick(movesOf(state, kind === 'fractions').solving);
    steps.push(step);
    state = shown(step);
    lines.push(stepLine(step));
  }
  return `${lines.join('\n')}\n#${composed(steps)}`;
}

/**
 * The line that a demonstration would write in a state after the steps of this attempt: one towards 24, or the answer
 * once 24 is made; null where no step leads there.
 */
export function nextLine(state: readonly Fraction[], made: readonly MadeStep[], rng: Rng): string | null {
  if (state.length === 1) return canReach24(state) ? `#${composed(made)}` : null;
  for (const fractions of [false, true]) {
    const { solving } = movesOf(state, fractions);
    if (solving.length > 0) return stepLine(rng.pick(solving));
  }
  return null;
}

/** Any step that the rules allow in a state of two numbers or more, wherever it leads. */
export function legalLine(state: readonly Fraction[], rng: Rng): string | null {
  const { all } = movesOf(state, true);
  return all.length > 0 ? stepLine(rng.pick(all)) : null;
}

/** Reads a completion back. Linear in its length. */
export function parseTrace(text: string): ParsedTrace {
  const lines = text.split('\n');
  const answer = lines.at(-1)!.startsWith('#') ? lines.at(-1)!.slice(1) : null;
  let size = 4;
  let rollbacks = 0;
  let ok = answer !== null && /^[0-9+\-*/()]+$/.test(answer);
  for (const line of lines.slice(0, -1)) {
    if (line === 'x' && size < 4) {
      size = 4;
      rollbacks++;
    } else {
      size -= 1;
      ok &&= size >= 1 && isStep(line, size);
    }
  }
  return { ok: ok && size === 1, answer, rollbacks };
}

/** Two steps to a state that cannot reach 24 and is not in `givenUp`, and `x`; nothing where luck does not find any. */
function failedAttempt(
  start: readonly Fraction[],
  fractions: boolean,
  givenUp: Set<string>,
  rng: Rng,
): string[] {
  for (let tries = 0; tries < 10; tries++) {
    const moves = movesOf(start, fractions);
    const first = rng.pick(rng.uniform() < 0.5 ? moves.solving : moves.all);
    const second = rng.pick(movesOf(shown(first), fractions).all);
    const state = shown(second);
    const key = state.map(formatFraction).sort().join(' ');
    if (givenUp.has(key) || movesOf(state, fractions).solving.length > 0) continue;
    givenUp.add(key);
    return [stepLine(first), stepLine(second), 'x'];
  }
  return [];
}

interface Moves {
  readonly all: readonly SolutionStep[];
  readonly solving: readonly SolutionStep[];
}

/** Only a cache: it is emptied when full, because the states of all puzzles in all orders would take gigabytes. */
const memory = new Map<string, Moves>();
const memorySize = 20_000;

/** The steps from a state that a demonstration may take, and those among them that can still reach 24. */
function movesOf(state: readonly Fraction[], fractions: boolean): Moves {
  const key = `${fractions} ${state.map(formatFraction).join(' ')}`;
  const known = memory.get(key);
  if (known) return known;
  const allowed = searchSteps(state).filter(
    ({ value }) => value.numerator >= 0 && (fractions || value.denominator === 1),
  );
  const solving = allowed.filter((step) => solvable(shown(step), fractions));
  const moves = { all: small(allowed), solving: small(solving) };
  if (memory.size >= memorySize) memory.clear();
  memory.set(key, moves);
  return moves;
}

function small(steps: readonly SolutionStep[]): readonly SolutionStep[] {
  const few = steps.filter(({ value }) => value.numerator <= largest * value.denominator);
  return few.length > 0 ? few : steps;
}

function solvable(state: readonly Fraction[], fractions: boolean): boolean {
  if (state.length === 1 || fractions) return canReach24(state);
  return canReach24(state) && movesOf(state, false).solving.length > 0;
}

/** The state after a step as a line shows it: the result first, the others in their order. */
function shown(step: SolutionStep): Fraction[] {
  return [step.value, ...step.remaining.slice(0, -1)];
}

function stepLine(step: SolutionStep): string {
  return `${written(step.left)}${step.operator}${written(step.right)}=${shown(step).map(written).join(' ')}`;
}

function written({ numerator, denominator }: Fraction): string {
  return denominator === 1 ? String(numerator) : `${numerator}:${denominator}`;
}

/** The steps as one expression: a number that an earlier step made stands in parentheses as what made it. */
function composed(steps: readonly MadeStep[]): string {
  const made = new Map<string, string[]>();
  let expression = '';
  for (const { left, operator, right, value } of steps) {
    const operand = (number: Fraction): string => {
      const maker = made.get(written(number))?.pop();
      return maker === undefined ? written(number) : `(${maker})`;
    };
    expression = `${operand(left)}${operator}${operand(right)}`;
    made.set(written(value), [...(made.get(written(value)) ?? []), expression]);
  }
  return expression;
}

/** `number op number=` and `size` numbers with single spaces between them. */
function isStep(line: string, size: number): boolean {
  const equals = line.indexOf('=');
  if (equals < 0 || !/^\d+(:\d+)?[+\-*/]\d+(:\d+)?$/.test(line.slice(0, equals))) return false;
  const state = line.slice(equals + 1).split(' ');
  return state.length === size && state.every((number) => /^\d+(:\d+)?$/.test(number));
}
