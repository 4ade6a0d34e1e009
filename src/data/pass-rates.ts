/** Owns how often a model solved each problem, read from a file, and what is kept by it. Runs no model. */

import { readFileSync } from 'node:fs';
import * as z from 'zod';
import { messageOf, ReckonError } from '../util/errors.ts';
import { readJsonl } from '../util/jsonl.ts';
import type { Problem } from './problem.ts';

/** Shares of correct samples by the problem's id. */
export type PassRates = ReadonlyMap<string, number>;

/** What a filter kept. */
export interface PassRateFilter {
  readonly kept: readonly Problem[];
  readonly below: number;
  readonly above: number;
  /** Problems that the file has no rate of; they are not kept. */
  readonly unknown: number;
}

const counted = z.object({ id: z.string(), correct: z.int().min(0), samples: z.int().min(1) });
const rated = z.object({ id: z.string(), rate: z.number().min(0).max(1) });
const row = z
  .union([rated, counted], 'expected id and rate (0 to 1), or id, correct and samples')
  .transform((one): [string, number] => [one.id, 'rate' in one ? one.rate : one.correct / one.samples]);
const evaluation = z.object({ problems: z.array(row) });

/**
 * Reads pass rates from JSON Lines of `{id, rate}` or `{id, correct, samples}`, or from an evaluation of a run
 * (`evaluations/<label>.json`). Throws `bad-pass-rates`, or names the line.
 */
export function readPassRates(path: string): PassRates {
  if (path.endsWith('.jsonl')) return new Map(readJsonl(path, (value) => row.parse(value)));
  try {
    return new Map(evaluation.parse(JSON.parse(readFileSync(path, 'utf8'))).problems);
  } catch (thrown) {
    throw new ReckonError(
      'data',
      'bad-pass-rates',
      `Expected JSON Lines of id and rate, or an evaluation of a run, in ${path}; it cannot be read: ${messageOf(thrown)}`,
      { cause: thrown },
    );
  }
}

/** The problems whose rate lies between `min` and `max`, both included, in their order. */
export function filterByPassRate(
  problems: readonly Problem[],
  rates: PassRates,
  { min, max }: { readonly min: number; readonly max: number },
): PassRateFilter {
  const count = (keep: (rate: number | undefined) => boolean): Problem[] =>
    problems.filter(({ id }) => keep(rates.get(id)));
  return {
    kept: count((rate) => rate !== undefined && rate >= min && rate <= max),
    below: count((rate) => rate !== undefined && rate < min).length,
    above: count((rate) => rate !== undefined && rate > max).length,
    unknown: count((rate) => rate === undefined).length,
  };
}

/** The problems from the most to the least often solved, those without a rate last: a curriculum in one list. */
export function easiestFirst(problems: readonly Problem[], rates: PassRates): Problem[] {
  const rateOf = ({ id }: Problem): number => rates.get(id) ?? -1;
  return problems.toSorted((a, b) => rateOf(b) - rateOf(a));
}
