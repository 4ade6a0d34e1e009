/** Owns the division of a centred reward by its spread. */

/** Of equal rewards with an epsilon of 0 that is 0, and not 0 / 0. */
export function scaled(difference: number, divisor: number): number {
  return divisor === 0 ? 0 : difference / divisor;
}
