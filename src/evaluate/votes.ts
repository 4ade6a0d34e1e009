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
  let silent = 0;
  for (const { answer, correct } of ballots) {
    if (correct) continue;
    if (answer === null) silent++;
    else wrong.set(answer, (wrong.get(answer) ?? 0) + 1);
  }
  const all = choose(n, k);
  let chance = 0;
  for (let votes = 1; votes <= Math.min(right, k); votes++)
    chance += (choose(right, votes) / all) * ways([...wrong.values()], silent, votes, k - votes);
  return chance;
}

/**
 * The number of ways to draw `rest` samples from the other answers so that none has more than `votes`, each way weighted
 * by 1 / (1 + answers that have exactly `votes`): the share of the tie that falls to the right one.
 */
function ways(counts: readonly number[], silent: number, votes: number, rest: number): number {
  const mostTies = Math.floor(rest / votes);
  // table[ties][drawn]
  let table = [row(rest), ...Array.from({ length: mostTies }, () => row(rest))];
  table[0]![0] = 1;
  for (const count of counts) table = withAnswer(table, count, votes, rest);
  let sum = 0;
  for (const [ties, drawn] of table.entries())
    for (let d = 0; d <= rest; d++) sum += (drawn[d]! * choose(silent, rest - d)) / (1 + ties);
  return sum;
}

function withAnswer(
  table: readonly Float64Array[],
  count: number,
  votes: number,
  rest: number,
): Float64Array[] {
  const next = table.map(() => row(rest));
  for (let take = 0; take <= Math.min(count, votes); take++) {
    const weight = choose(count, take);
    const tied = take === votes ? 1 : 0;
    for (let ties = 0; ties + tied < table.length; ties++)
      for (let drawn = 0; drawn + take <= rest; drawn++)
        next[ties + tied]![drawn + take]! += weight * table[ties]![drawn]!;
  }
  return next;
}

function row(rest: number): Float64Array {
  return new Float64Array(rest + 1);
}

/** n over k; 0 outside 0 <= k <= n. */
function choose(n: number, k: number): number {
  if (k < 0 || k > n) return 0;
  let product = 1;
  for (let i = 1; i <= Math.min(k, n - k); i++) product = (product * (n - Math.min(k, n - k) + i)) / i;
  return product;
}
