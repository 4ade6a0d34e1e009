/** Owns summary.json (version 1): the numbers of a run that a program would ask for. Refuses to measure anything. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Evaluation } from '../evaluate/evaluation.ts';
import { messageOf, ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';

/** The ends of a 95 % interval. */
export type Bounds = readonly [low: number, high: number];

/** The numbers of one evaluation: shares, and the number of problems. pass@8 is null below 8 samples a problem. */
export interface SummaryResult {
  readonly 'pass@1': number;
  readonly 'pass@8': number | null;
  readonly format: number;
  readonly n: number;
  readonly intervals: {
    readonly 'pass@1': Bounds;
    readonly 'pass@8': Bounds | null;
    readonly format: Bounds;
  };
}

/** summary.json, version 1. `seconds` is the whole command; the keys of `heldOut` are evaluation labels. */
export interface Summary {
  readonly version: 1;
  readonly task: string;
  readonly seed: number;
  readonly seconds: number;
  readonly heldOut: Readonly<Record<string, SummaryResult>>;
}

const share = z.number().min(0).max(1);
const bounds = z.tuple([share, share]);
const resultSchema = z.object({
  'pass@1': share,
  'pass@8': share.nullable(),
  format: share,
  n: z.int().nonnegative(),
  intervals: z.object({ 'pass@1': bounds, 'pass@8': bounds.nullable(), format: bounds }),
});

/** The schema of summary.json. */
export const summarySchema: z.ZodType<Summary> = z.object({
  version: z.literal(1),
  task: z.string().min(1),
  seed: z.int(),
  seconds: z.number().nonnegative(),
  heldOut: z.record(z.string(), resultSchema),
});

/** A run's summary from its evaluations. */
export function makeSummary(
  run: { readonly task: string; readonly seed: number; readonly seconds: number },
  evaluations: readonly Evaluation[],
): Summary {
  const heldOut = Object.fromEntries(
    evaluations.map((evaluation) => [evaluation.label, resultOf(evaluation)]),
  );
  return { version: 1, task: run.task, seed: run.seed, seconds: Math.round(run.seconds * 10) / 10, heldOut };
}

function resultOf({ passAt1, passAt8, format, n }: Evaluation): SummaryResult {
  return {
    'pass@1': passAt1.mean,
    'pass@8': passAt8?.mean ?? null,
    format: format.mean,
    n,
    intervals: {
      'pass@1': [passAt1.low, passAt1.high],
      'pass@8': passAt8 === null ? null : [passAt8.low, passAt8.high],
      format: [format.low, format.high],
    },
  };
}

/** Writes summary.json into a run directory in one step and returns its path. */
export function writeSummary(runDirectory: string, summary: Summary): string {
  const path = join(runDirectory, 'summary.json');
  writeFileAtomic(path, `${JSON.stringify(summarySchema.parse(summary), null, 2)}\n`);
  return path;
}

/** Reads a summary.json; one that cannot be read is an error that names the file. */
export function readSummary(path: string): Summary {
  try {
    return summarySchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (thrown) {
    const message = `${path}: expected a summary of version 1, found: ${messageOf(thrown)}. Run \`reckon report\` to write it anew.`;
    throw new ReckonError('data', 'summary-invalid', message, { cause: thrown });
  }
}
