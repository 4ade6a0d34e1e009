/** Owns how long a timer may be. */

/** Milliseconds for `setTimeout`, at most the 25 days that it can wait: Node lets a longer timer fire at once. */
export function timerMs(ms: number): number {
  return Math.min(ms, 2 ** 31 - 1);
}
