/** Owns how data sets write worked solutions and where the answer stands in them. Judges nothing. */

import { lastBoxed } from './boxed.ts';
import type { Problem } from './problem.ts';

/** A solution as a model is to write it: the steps, and the answer alone. */
export interface WorkedSolution {
  /** '' where the data have an answer and no steps. */
  readonly reasoning: string;
  readonly answer: string;
}

/** GSM8K's mark of the final answer. */
const MARK = '####';

/** The answer of a solution: behind the last `####` (thousands commas taken out), else in the last box; else null. */
export function answerInSolution(solution: string): string | null {
  const mark = solution.lastIndexOf(MARK);
  if (mark < 0) return lastBoxed(solution);
  const answer = solution.slice(mark + MARK.length).trim();
  return answer === '' ? null : withoutThousands(answer);
}

/** Steps without `#### answer` and, unless they are wanted, without GSM8K's `<<48/2=24>>` annotations. */
export function reasoningOf(solution: string, keepCalculator = false): string {
  const mark = solution.lastIndexOf(MARK);
  const steps = mark < 0 ? solution : solution.slice(0, mark);
  return (keepCalculator ? steps : steps.replace(/<<[^<>]*>>/g, '')).trim();
}

/** The worked solution of a problem whose `meta.solution` holds one; the answer alone where it does not. */
export function workedSolution(problem: Problem, keepCalculator = false): WorkedSolution {
  const solution = problem.meta['solution'];
  const reasoning = typeof solution === 'string' ? reasoningOf(solution, keepCalculator) : '';
  return { reasoning, answer: problem.reference };
}

/**
 * A solution as R1-Zero's prompt wants its completion, which goes on behind `<think>`: the steps, `</think> <answer>`, the
 * answer, `</answer>`, with the single spaces that strict graders ask for.
 */
export function thinkAnswer({ reasoning, answer }: WorkedSolution): string {
  return ` ${reasoning}${reasoning === '' ? '' : ' '}</think> <answer> ${answer} </answer>`;
}

/** A solution that ends in `\boxed{answer}`: as it is where its last box holds the answer, else with a last line. */
export function boxedSolution({ reasoning, answer }: WorkedSolution): string {
  if (lastBoxed(reasoning) === answer) return reasoning;
  return `${reasoning}${reasoning === '' ? '' : '\n'}The answer is \\boxed{${answer}}.`;
}

function withoutThousands(answer: string): string {
  return /^[+-]?\d{1,3}(?:,\d{3})+(?:\.\d+)?$/.test(answer) ? answer.replaceAll(',', '') : answer;
}
