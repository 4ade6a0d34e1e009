/** Owns whitening: values of a batch brought to mean 0 and standard deviation 1. Knows no tokens. */

export interface WhitenOptions {
  /** False keeps the mean, as for rewards whose sign means something. */
  readonly shiftMean?: boolean;
  /** What the variance subtracts from the count; default 1. */
  readonly ddof?: 0 | 1;
  readonly epsilon?: number;
  /** Epsilon is added to the variance (TRL, the default), or to the standard deviation. */
  readonly insideRoot?: boolean;
}

/** The values in their shape; what the mask leaves out does not count and comes back as 0. */
export function whiten(
  values: ArrayLike<number>,
  options: WhitenOptions = {},
  mask?: ArrayLike<number>,
): number[] {
  const { shiftMean = true, ddof = 1, epsilon = 1e-8, insideRoot = true } = options;
  const counts = (i: number) => mask === undefined || mask[i] !== 0;
  const known = Array.from(values).filter((_, i) => counts(i));
  const mean = known.reduce((sum, value) => sum + value, 0) / known.length;
  const squares = known.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  const variance = squares / Math.max(1, known.length - ddof);
  const divisor = insideRoot ? Math.sqrt(variance + epsilon) : Math.sqrt(variance) + epsilon;
  return Array.from(values, (value, i) => {
    if (!counts(i)) return 0;
    const scaled = (value - mean) / divisor;
    return shiftMean ? scaled : scaled + mean;
  });
}
