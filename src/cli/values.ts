/** Owns how the values of options are read. Knows no command. */

import { InvalidArgumentError } from 'commander';
import { LEAST_TEMPERATURE } from '../generate/sampling.ts';

/** Reads `--set` flags in order. */
export function collect(value: string, earlier: readonly string[] = []): readonly string[] {
  return [...earlier, value];
}

/** Reads a whole number of 0 or more. */
export function wholeNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('it must be a whole number, 0 or more.');
  return Number(text);
}

/** Reads a whole number of 1 or more. */
export function positive(text: string): number {
  const value = wholeNumber(text);
  if (value === 0) throw new InvalidArgumentError('it must be a whole number, 1 or more.');
  return value;
}

/** Reads a number of 0 or more. */
function notNegative(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (value >= 0 && Number.isFinite(value)) return value;
  throw new InvalidArgumentError('it must be a number, 0 or more.');
}

/** Reads a number from 0 to 1. */
export function fraction(text: string): number {
  const value = notNegative(text);
  if (value > 1) throw new InvalidArgumentError('it must lie between 0 and 1.');
  return value;
}

/** Reads a temperature: 0 for greedy, else no lower than what logits can be divided by. */
export function temperature(text: string): number {
  const value = notNegative(text);
  if (value !== 0 && value < LEAST_TEMPERATURE)
    throw new InvalidArgumentError(`it must be 0 (greedy) or at least ${LEAST_TEMPERATURE}.`);
  return value;
}

/** Reads how long something may take. A timer that waits longer than 2^31 ms fires at once. */
export function milliseconds(text: string): number {
  const value = positive(text);
  if (value >= 2 ** 31) throw new InvalidArgumentError(`it must be at most ${2 ** 31 - 1} (about 24 days).`);
  return value;
}

/** Reads a share above 0, at most 1. */
export function share(text: string): number {
  const value = notNegative(text);
  if (value === 0 || value > 1) throw new InvalidArgumentError('it must be above 0 and at most 1.');
  return value;
}

/** Reads `1,2,3`. */
export function seedList(text: string): readonly number[] {
  const seeds = text.split(',').map((part) => part.trim());
  if (!seeds.every((seed) => /^\d{1,15}$/.test(seed)) || new Set(seeds.map(Number)).size < seeds.length)
    throw new InvalidArgumentError('it must be different whole numbers with commas between, such as 1,2,3.');
  return seeds.map(Number);
}
