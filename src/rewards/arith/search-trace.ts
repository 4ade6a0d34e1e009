/**
 * Owns the rewards of LLM4Game24 for a written-out search for 24, by its exact rules: outcome, process with states line by
 * line, length. The profile `seed3`; judges nothing else.
 */

import { asFloat, evaluatePython } from './python-arithmetic.ts';

export interface SearchTraceOptions {
  /** Outcome of a last line with an expression that is wrong; 0 in the published code, 0.35 in its report. */
  readonly wrongOutcome?: number;
  /** Weights of the sum. */
  readonly outcome?: number;
  readonly process?: number;
  readonly length?: number;
}

/** The three rewards and their weighted sum. */
export interface SearchTraceRewards {
  readonly outcome: number;
  /** 1 - errors / lines; the line of a wrong expression counts two errors, so this can be below 0. */
  readonly process: number;
  readonly length: number;
  readonly total: number;
  readonly lines: number;
  readonly errorLines: number;
}

/**
 * Rewards a completion for a case of four numbers. Every line must hold `left:` with a state whose equations hold and whose
 * numbers are the case's, or be the last and hold `expression:`; a line that was there before is an error unless it says
 * `roll`. `1 / (1 + exp(0.2 (lines - 24)))` is the length's reward above 4 lines.
 */
export function searchTraceRewards(
  numbers: readonly number[],
  completion: string,
  {
    wrongOutcome = 0,
    outcome: outcomeWeight = 0.15,
    process: processWeight = 0.75,
    length: lengthWeight = 0.1,
  }: SearchTraceOptions = {},
): SearchTraceRewards {
  const lines = completion
    .slice(completion.lastIndexOf(TURN) < 0 ? 0 : completion.lastIndexOf(TURN) + TURN.length)
    .split('\n');
  const wanted = multiset(numbers);
  const seen = new Set<string>();
  let errorLines = 0;
  let outcome = 0;
  lines.forEach((line, i) => {
    if (line.includes('left:')) {
      const again = seen.has(line) && !line.includes('roll');
      if (again || !isState(line.split('left:')[1]!.trim(), wanted)) errorLines++;
    } else if (line.includes('expression:') && i === lines.length - 1) {
      const errors = expressionErrors(line.split('expression:').at(-1)!, wanted);
      errorLines += errors;
      outcome = errors === 0 ? 1 : wrongOutcome;
    } else errorLines++;
    seen.add(line);
  });
  const process = 1 - errorLines / lines.length;
  const length = lines.length <= 4 ? 1 : 1 / (1 + Math.exp(0.2 * (lines.length - 4 - 20)));
  const total = outcomeWeight * outcome + processWeight * process + lengthWeight * length;
  return { outcome, process, length, total, lines: lines.length, errorLines };
}

/** What a chat template puts before the model's turn. */
const TURN = 'assistant\n';

/** Whether every entry of a state reads, every equation in it holds, and its numbers are those of the case. */
function isState(state: string, wanted: string): boolean {
  const entries = /[,=]/.test(state) ? state.split(',') : state.split(' ');
  const used: number[] = [];
  for (const entry of entries) {
    const [left, right] = entry.split('=');
    if (right === undefined) {
      if (!/^\s*[+-]?\d{1,300}\s*$/.test(left!)) return false;
      used.push(Number(left));
    } else {
      const [value, claimed] = [valueIn(left!), valueIn(right)];
      if (value === null || claimed === null || Math.abs(value - claimed) > 1e-6) return false;
      used.push(...digitRuns(left!));
    }
  }
  return multiset(used) === wanted;
}

/** A wrong or unreadable value is an error of its own, beside the answer's being wrong. */
function expressionErrors(expression: string, wanted: string): 0 | 1 | 2 {
  const value = valueIn(expression);
  if (value === null || Math.abs(value - 24) > 1e-6) return 2;
  return multiset(digitRuns(expression)) === wanted ? 0 : 1;
}

function valueIn(expression: string): number | null {
  const result = evaluatePython(expression.trim());
  return result.ok ? asFloat(result.value) : null;
}

function digitRuns(text: string): number[] {
  return (text.match(/\d+/g) ?? []).map(Number);
}

function multiset(numbers: readonly number[]): string {
  return numbers.toSorted((a, b) => a - b).join();
}
