/** Owns repeated measuring and its median. */

/** Values in the order of measuring, and what they come to. */
export interface Summary {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
  readonly values: readonly number[];
}

/** One line of a part that has no other side. */
export interface Measurement extends Summary {
  readonly name: string;
  readonly unit: string;
  /** What was aimed at, where something was. */
  readonly aim?: string | undefined;
}

/** Median, lowest and highest; between the two in the middle where their number is even. */
export function summary(values: readonly number[]): Summary {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = (sorted.length - 1) / 2;
  const median = (sorted[Math.floor(middle)]! + sorted[Math.ceil(middle)]!) / 2;
  return { median, lowest: sorted[0]!, highest: sorted.at(-1)!, values };
}

/** The same with a name and a unit. */
export function summarised(name: string, values: readonly number[], unit: string, aim?: string): Measurement {
  return { name, ...summary(values), unit, aim };
}
