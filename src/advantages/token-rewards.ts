/** Owns the rewards of single tokens: a penalty for leaving the reference, dense rewards, the score at the end. */

export interface TokenRewardOptions {
  /** Weight of the KL penalty. */
  readonly klCoefficient: number;
  /** Which token gets the score; the last by default. */
  readonly scoreAt?: number;
}

/**
 * r_t = dense_t - coefficient KL_t, and the score of the whole completion on top at its last token (Ziegler et al.
 * 2019). A null score (not known) is left out.
 */
export function tokenRewards(
  length: number,
  parts: {
    readonly score: number | null;
    /** An estimate a token, in nats. */
    readonly kl?: ArrayLike<number> | undefined;
    readonly dense?: ArrayLike<number> | undefined;
  },
  options: TokenRewardOptions,
): number[] {
  const rewards = Array.from(
    { length },
    (_, t) => (parts.dense?.[t] ?? 0) - options.klCoefficient * (parts.kl?.[t] ?? 0),
  );
  const place = options.scoreAt ?? length - 1;
  if (parts.score !== null && place >= 0 && place < length) rewards[place]! += parts.score;
  return rewards;
}
