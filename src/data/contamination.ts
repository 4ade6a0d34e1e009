/** Owns the check whether questions to be tested on are trained on, exactly or but for spelling. Removes nothing. */

import type { Problem } from './problem.ts';

/** A tested problem that is also trained on. */
export interface ContaminatedPair {
  readonly train: string;
  readonly test: string;
  /** `exact`: the same characters; `normalised`: the same but for case, spaces, punctuation and LaTeX spacing. */
  readonly how: 'exact' | 'normalised';
}

/** What the check found; each tested problem is named once, with the first that it equals. */
export interface Contamination {
  readonly tested: number;
  readonly exact: number;
  readonly normalised: number;
  readonly pairs: readonly ContaminatedPair[];
}

/** Looks for the questions of `test` among those of `train`, in linear time. */
export function contaminationOf(train: readonly Problem[], test: readonly Problem[]): Contamination {
  const exact = new Map<string, string>();
  const normalised = new Map<string, string>();
  for (const { id, question } of train) {
    if (!exact.has(question)) exact.set(question, id);
    const key = normalisedQuestion(question);
    if (!normalised.has(key)) normalised.set(key, id);
  }
  const pairs = test.flatMap(({ id, question }): ContaminatedPair[] => {
    const same = exact.get(question);
    if (same !== undefined) return [{ train: same, test: id, how: 'exact' }];
    const like = normalised.get(normalisedQuestion(question));
    return like === undefined ? [] : [{ train: like, test: id, how: 'normalised' }];
  });
  const exactCount = pairs.filter(({ how }) => how === 'exact').length;
  return { tested: test.length, exact: exactCount, normalised: pairs.length - exactCount, pairs };
}

/** A question without what does not change its meaning. Operators and decimal points stay. */
export function normalisedQuestion(question: string): string {
  return question
    .normalize('NFKC')
    .toLowerCase()
    .replace(/\\(?:left|right|qquad|quad|[,;:! ])/g, '')
    .replace(/[\s$,;:!?'"`\u2018\u2019\u201c\u201d]|\.(?!\d)/g, '');
}
