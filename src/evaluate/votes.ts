/** Owns maj@k: how often a vote among k samples of a problem gives the right answer. Judges no answer itself. */

import { ReckonError } from '../util/errors.ts';

/** A sample as a voter: what it answered (null where it did not), and whether that is right. */
export interface Ballot {
  readonly answer: string | null;
  readonly correct: boolean;
}

/**
 * The chance that the plurality of k samples, drawn without replacement from a problem's n, is right (Wang et al. 2023,
 * self-consistency); exact over all subsets, with ties shared evenly. Right answers vote together however they are
 * written, wrong ones with their like; samples without an answer are drawn and do not vote. Throws `maj-at-k` unless
 * 1 <= k <= n.
 */
export function majAtK(ballots: readonly Ballot[], k: number): number {
  const n = ballots.length;
  if (!Number.isInteger(k) || k < 1 || k > n) {
    throw new ReckonError(
      'data',
      'maj-at-k',
      `Expected 1 <= k <= ${n} samples of a problem, found k ${k}; sample at least k times.`,
    );
  }
  const right = ballots.filter((ballot) => ballot.correct).length;
  const wrong = new Map<string, number>();
  for (const { answer, correct } of ballots)
    if (!correct && answer !== null) wrong.set(answer, (wrong.get(answer) ?? 0) + 1);
  let share = 0;
  for (let votes = 1; votes <= Math.min(right, k); votes++) {
    const probability = chance(n, right, k, votes);
    // What is rarer than that is lost in rounding.
    if (probability > 1e-18) share += probability * won([...wrong.values()], n - right, votes, k - votes);
  }
  // Rounding must not push it above 1.
  return Math.min(1, share);
}

/**
 * What falls to the right answer where it has `votes` and `rest` samples are drawn from the `others`: 0 where an answer
 * among `counts` has more votes, else 1 / (1 + answers that have as many), in expectation over the draws.
 */
function won(counts: readonly number[], others: number, votes: number, rest: number): number {
  const mostTies = Math.min(Math.floor(rest / votes), counts.filter((count) => count >= votes).length);
  // table[ties][drawn]: the probability that the answers so far have so many ties and samples
  let table: readonly Float64Array[] = Array.from({ length: mostTies + 1 }, () => new Float64Array(rest + 1));
  table[0]![0] = 1;
  let left = others;
  for (const count of counts) {
    table = withAnswer(table, { count, left, votes, rest });
    left -= count;
  }
  return table.reduce(
    (sum, drawn, ties) => sum + drawn.reduce((total, probability) => total + probability, 0) / (1 + ties),
    0,
  );
}

/** The table with one answer more, `count` of the `left` samples that are not drawn from yet. */
function withAnswer(
  table: readonly Float64Array[],
  { count, left, votes, rest }: Record<'count' | 'left' | 'votes' | 'rest', number>,
): Float64Array[] {
  const next = table.map(() => new Float64Array(rest + 1));
  for (let take = 0; take <= Math.min(count, votes); take++) {
    const tied = take === votes ? 1 : 0;
    for (let drawn = 0; drawn + take <= rest; drawn++) {
      const probability = chance(left, count, rest - drawn, take);
      if (probability === 0) continue;
      for (let ties = 0; ties + tied < table.length; ties++)
        next[ties + tied]![drawn + take]! += probability * table[ties]![drawn]!;
    }
  }
  return next;
}

/** Below it every binomial coefficient is a whole number that a double holds. */
const exactBelow = 56;

/** The probability of `taken` of `marked` among `draws` from a `population` (hypergeometric); 0 for what cannot be. */
function chance(population: number, marked: number, draws: number, taken: number): number {
  const others = population - marked;
  if (taken > marked || taken > draws || draws - taken > others) return 0;
  if (population < exactBelow)
    return (choose(marked, taken) * choose(others, draws - taken)) / choose(population, draws);
  // In logarithms: from about 1,000 samples on the coefficients themselves overflow.
  return Math.exp(logChoose(marked, taken) + logChoose(others, draws - taken) - logChoose(population, draws));
}

/** n over k. */
function choose(n: number, k: number): number {
  let product = 1;
  for (let i = 1; i <= Math.min(k, n - k); i++) product = (product * (n - Math.min(k, n - k) + i)) / i;
  return product;
}

/** log i! at place i, as far as it was asked for. */
const logFactorials = [0];

function logChoose(n: number, k: number): number {
  for (let i = logFactorials.length; i <= n; i++) logFactorials.push(logFactorials[i - 1]! + Math.log(i));
  return logFactorials[n]! - logFactorials[k]! - logFactorials[n - k]!;
}
