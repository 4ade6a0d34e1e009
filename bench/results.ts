/** Owns what a measured run is as JSON: its format, its file, and which rows of an earlier try still count. */

import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Measurement, Summary } from './measure.ts';
import type { Row } from './rows.ts';

const verdicts = [
  'reaches the aim',
  'reaches at least',
  'MISSED',
  'LOST',
  'no bound',
  'not compared',
] as const;
export type Verdict = (typeof verdicts)[number];

/** One measured row. */
export interface RowResult {
  readonly id: string;
  readonly what: string;
  readonly measured: string;
  /** Of `ours` and `theirs`. */
  readonly unit: string;
  readonly ours: Summary | null;
  readonly theirs: Summary | null;
  /** How the other side computed, and the seconds of the ways that were tried. */
  readonly variant: string | null;
  readonly tried: Readonly<Record<string, number>>;
  /** Of neighbours in time: times as fast, share of their memory, or share of the machine's limit. */
  readonly ratio: Summary | null;
  readonly atLeast: number | null;
  readonly aim: number | null;
  readonly verdict: Verdict;
  /** Why something was left out. */
  readonly why: string | null;
  /** Medians of the seconds of what a step is made of, ours and theirs. */
  readonly parts: Readonly<Record<string, number>>;
  readonly theirParts: Readonly<Record<string, number>>;
}

/** One run of the benchmark. */
export interface BenchResult {
  readonly version: 2;
  readonly date: string;
  /** Short, with a plus sign where the sources were not as committed. */
  readonly commit: string;
  readonly machine: Readonly<Record<string, unknown>>;
  /** Versions of the other side's libraries. */
  readonly peer: Readonly<Record<string, string>>;
  readonly repeats: number;
  /** GFLOP/s of products in bf16 and f32, GB/s of reading memory. */
  readonly limits: Readonly<Record<string, Summary>>;
  readonly rows: readonly RowResult[];
  /** Parts without another side. */
  readonly measurements: readonly Measurement[];
}

const summaryFields = {
  median: z.number(),
  lowest: z.number(),
  highest: z.number(),
  values: z.array(z.number()).readonly(),
};
const summarySchema = z.strictObject(summaryFields);
const numbers = z.record(z.string(), z.number());

const rowSchema: z.ZodType<RowResult> = z.strictObject({
  id: z.string(),
  what: z.string(),
  measured: z.iso.datetime(),
  unit: z.string(),
  ours: summarySchema.nullable(),
  theirs: summarySchema.nullable(),
  variant: z.string().nullable(),
  tried: numbers,
  ratio: summarySchema.nullable(),
  atLeast: z.number().nullable(),
  aim: z.number().nullable(),
  verdict: z.enum(verdicts),
  why: z.string().nullable(),
  parts: numbers,
  theirParts: numbers,
});

const resultSchema: z.ZodType<BenchResult> = z.strictObject({
  version: z.literal(2),
  date: z.iso.datetime(),
  commit: z.string(),
  machine: z.record(z.string(), z.unknown()),
  peer: z.record(z.string(), z.string()),
  repeats: z.number().int().positive(),
  limits: z.record(z.string(), summarySchema),
  rows: z.array(rowSchema),
  measurements: z.array(
    z.strictObject({ ...summaryFields, name: z.string(), unit: z.string(), aim: z.string().optional() }),
  ),
});

/** Checks a result's format. */
export function parseResult(json: unknown): BenchResult {
  return resultSchema.parse(json);
}

/** What a ratio is worth; a memory's is better the smaller it is, and LOST is worse than the other side. */
export function verdictOf(
  { measure, atLeast, aim }: Pick<Row, 'measure' | 'atLeast' | 'aim'>,
  ratio: number | null,
): Verdict {
  if (ratio === null) return 'not compared';
  const reaches = (bound: number) => (measure === 'memory' ? ratio <= bound : ratio >= bound);
  if (measure !== 'bandwidth' && !reaches(1)) return 'LOST';
  if (atLeast === null || aim === null) return 'no bound';
  if (reaches(aim)) return 'reaches the aim';
  return reaches(atLeast) ? 'reaches at least' : 'MISSED';
}

/** The commit of the sources here. */
export function currentCommit(): string {
  const git = (...words: string[]) =>
    execFileSync('git', words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const changed = git('status', '--porcelain', '--', 'src', 'native', 'bench', ':!bench/results');
    return `${git('rev-parse', '--short', 'HEAD')}${changed === '' ? '' : '+'}`;
  } catch {
    return 'unknown';
  }
}

/** The newest result of a commit in a folder, if there is one of this format. */
export function earlierResult(folder: string, commit: string): BenchResult | null {
  if (!existsSync(folder)) return null;
  const names = readdirSync(folder).filter((name) => name.endsWith(`-${commit}.json`));
  const newest = names.sort().at(-1);
  if (newest === undefined) return null;
  const found = resultSchema.safeParse(JSON.parse(readFileSync(join(folder, newest), 'utf8')));
  return found.success ? found.data : null;
}

/** Whether a row that was measured before is as good as a new one. */
export function stillCounts(row: RowResult, earlier: BenchResult, now: BenchResult): boolean {
  const same = ['cpu', 'cores', 'threads', 'kernels'].every(
    (key) => earlier.machine[key] === now.machine[key],
  );
  const compared = row.ratio !== null || Object.keys(now.peer).length === 0;
  return same && earlier.repeats >= now.repeats && row.ours !== null && compared;
}

/** Writes a result into a folder under its date and commit; returns the path. */
export function writeResult(folder: string, result: BenchResult): string {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `${result.date.slice(0, 10)}-${result.commit}.json`);
  writeFileSync(path, `${JSON.stringify(parseResult(result), null, 2)}\n`);
  return path;
}
