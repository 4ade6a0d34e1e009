/** Owns the weight of the KL penalty: fixed, or steered towards a target (Ziegler et al. 2019, section 2.2). Knows no model. */

/** `target` null leaves the coefficient as it is. */
export interface KlControlOptions {
  readonly coefficient: number;
  /** Nats a completion, its tokens' KL summed, that the coefficient is steered to. */
  readonly target: number | null;
  /** Completions over which the coefficient may change by a fifth and no more. */
  readonly horizon: number;
}

/** The coefficient for the next step, after `count` completions whose mean KL was `kl`. */
export function nextKlCoefficient(
  coefficient: number,
  kl: number,
  count: number,
  { target, horizon }: Pick<KlControlOptions, 'target' | 'horizon'>,
): number {
  if (target === null) return coefficient;
  const error = Math.min(0.2, Math.max(-0.2, kl / target - 1));
  return coefficient * (1 + (error * count) / horizon);
}
