/** Owns repeated timing and its median. */

/** One row of the result. */
export interface Measurement {
  readonly name: string;
  readonly median: number;
  readonly fastest: number;
  readonly slowest: number;
  readonly unit: string;
  /** What was aimed at, where something was. */
  readonly aim?: string;
}

/** Median, fastest and slowest of values. */
export function summarised(name: string, values: readonly number[], unit: string, aim?: string): Measurement {
  const sorted = [...values].sort((a, b) => a - b);
  return {
    name,
    median: sorted[Math.floor(sorted.length / 2)]!,
    fastest: sorted[0]!,
    slowest: sorted.at(-1)!,
    unit,
    ...(aim === undefined ? {} : { aim }),
  };
}
