/** Owns the penalty of repeated n-grams. Knows no tokenizer. */

import { ReckonError } from '../../util/errors.ts';

export interface RepetitionOptions {
  /** Length of the n-grams; default 3. */
  readonly ngram?: number | undefined;
  /** What a completion that only repeats itself comes near to, 0 or less; default -1. */
  readonly maxPenalty?: number | undefined;
}

/**
 * maxPenalty times the share of n-grams that were there before (Yeo et al. 2025, appendix C.2), over token ids or words; 0
 * where there are fewer items than make one.
 */
export function repetitionPenalty(
  items: readonly (number | string)[],
  { ngram = 3, maxPenalty = -1 }: RepetitionOptions = {},
): number {
  if (!Number.isInteger(ngram) || ngram < 1 || maxPenalty > 0) {
    const found = `found ngram ${ngram} and maxPenalty ${maxPenalty}`;
    throw new ReckonError(
      'usage',
      'bad-repetition',
      `expected n-grams of 1 or more and a penalty of at most 0, ${found}`,
    );
  }
  const total = items.length - ngram + 1;
  if (total < 1) return 0;
  const seen = new Set<string>();
  for (let i = 0; i < total; i++) seen.add(items.slice(i, i + ngram).join('\u0000'));
  const repeated = 1 - seen.size / total;
  return repeated === 0 ? 0 : repeated * maxPenalty;
}

/** The words of a text in lower case, as open-r1 counts repetitions. */
export function wordsOf(text: string): string[] {
  return text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== '');
}
