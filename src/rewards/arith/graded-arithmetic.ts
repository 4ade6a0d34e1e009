/** Owns the types of judging an arithmetic puzzle: numbers, a target, and what a grader says. Judges nothing. */

import type { Verdict } from '../reward.ts';

/** Numbers to be joined by arithmetic, and what they must make. */
export interface ArithmeticPuzzle {
  readonly numbers: readonly number[];
  readonly target: number;
}

/** A verdict on a completion, with the number that the profile gives it. */
export interface GradedArithmetic {
  readonly verdict: Verdict;
  readonly score: number;
  /** `correct`, or the short word that says why not. */
  readonly reason: string;
  /** The expression as it was found; '' where there is none. */
  readonly extracted: string;
}
