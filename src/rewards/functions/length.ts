/** Owns rewards of a completion's length. Counts nothing itself and knows no tokenizer. */

import { ReckonError } from '../../util/errors.ts';

export interface LogisticLengthOptions {
  /** Lengths up to this get 1. */
  readonly threshold?: number | undefined;
  /** How far above the threshold the reward is one half. */
  readonly middle?: number | undefined;
  readonly steepness?: number | undefined;
}

/** 1 up to the threshold, then 1 / (1 + exp(steepness (length - threshold - middle))): LLM4Game24's, in lines. */
export function logisticLength(
  length: number,
  { threshold = 4, middle = 20, steepness = 0.2 }: LogisticLengthOptions = {},
): number {
  return length <= threshold ? 1 : 1 / (1 + Math.exp(steepness * (length - threshold - middle)));
}

export interface CosineLengthOptions {
  readonly maxLength: number;
  /** Of a wrong completion: at length 0, and at `maxLength`. */
  readonly wrong?: readonly [number, number] | undefined;
  /** Of a correct completion: at length 0, and at `maxLength`. */
  readonly correct?: readonly [number, number] | undefined;
  /** Longer completions stay at the value of `maxLength` (TRL); else the cosine goes on (open-r1). Default true. */
  readonly clamp?: boolean | undefined;
}

/**
 * Half a cosine from the value at length 0 to the value at `maxLength`: short correct completions and long wrong ones get
 * more (Yeo et al. 2025, appendix C.1).
 */
export function cosineLength(
  length: number,
  isCorrect: boolean,
  { maxLength, wrong = [-1, -0.5], correct = [1, 0.5], clamp = true }: CosineLengthOptions,
): number {
  const [start, end] = isCorrect ? correct : wrong;
  const progress = clamp ? Math.min(length / maxLength, 1) : length / maxLength;
  return end + 0.5 * (start - end) * (1 + Math.cos(progress * Math.PI));
}

export interface OverlongOptions {
  readonly maxLength: number;
  /** The last so many tokens before `maxLength` are punished in part. */
  readonly buffer: number;
}

/** 0 up to maxLength - buffer, -1 above maxLength, a straight line between (DAPO, equation 13). */
export function softOverlong(length: number, { maxLength, buffer }: OverlongOptions): number {
  const free = maxLength - buffer;
  if (length <= free) return 0;
  return length <= maxLength ? (free - length) / buffer : -1;
}

/**
 * Kimi k1.5's length reward of a group: 0.5 at the shortest to -0.5 at the longest, never above 0 for wrong completions; 0
 * for all where lengths are equal. `correct` null counts as correct, as where nobody could know.
 */
export function groupLength(lengths: readonly number[], correct: readonly (boolean | null)[]): number[] {
  if (lengths.length !== correct.length) {
    const found = `found ${lengths.length} and ${correct.length}`;
    throw new ReckonError('usage', 'lengths-differ', `expected as many lengths as verdicts, ${found}`);
  }
  const least = lengths.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const most = lengths.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  return lengths.map((length, i) => {
    if (most === least) return 0;
    const value = 0.5 - (length - least) / (most - least);
    return correct[i] === false ? Math.min(0, value) : value;
  });
}
