/** Owns advantages of single tokens without a value function: what is still to come of a completion's rewards. Knows no model. */

import type { MaybeReward } from './group.ts';
import { tokenRewards } from './token-rewards.ts';
import { whiten } from './whiten.ts';

/** G_t = r_t + gamma G_t+1. */
export function returnsToGo(rewards: readonly number[], gamma: number): number[] {
  const returns = [...rewards];
  for (let t = rewards.length - 2; t >= 0; t--) returns[t]! += gamma * returns[t + 1]!;
  return returns;
}

export interface TokenReturnOptions {
  readonly klCoefficient: number;
  readonly gamma: number;
  /** Brings the advantages of all tokens together to mean 0 and standard deviation 1. */
  readonly whiten: boolean;
}

/**
 * Advantages of every token of every completion (REINFORCE++, Hu 2025): its KL penalty a token and, at the last token, its
 * score, summed from the token on, then whitened over all tokens. A completion without a score (null) teaches nothing:
 * its advantages are 0 and it does not count in the whitening.
 */
export function returnAdvantages(
  scores: readonly MaybeReward[],
  lengths: readonly number[],
  kl: readonly (readonly number[])[] | null,
  { klCoefficient, gamma, whiten: whitened }: TokenReturnOptions,
): number[][] {
  const returns = scores.map((score, i) => {
    if (score === null) return new Array<number>(lengths[i]!).fill(0);
    return returnsToGo(tokenRewards(lengths[i]!, { score, kl: kl?.[i] }, { klCoefficient }), gamma);
  });
  const mask = returns.flatMap((row, i) => row.map(() => Number(scores[i] !== null)));
  if (!whitened || !mask.includes(1)) return returns;
  const flat = whiten(returns.flat(), {}, mask);
  let next = 0;
  return returns.map((row) => row.map(() => flat[next++]!));
}
