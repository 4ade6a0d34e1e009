/** Owns the named data sets: where their files are, what their columns mean, how they are split. Poses no prompt. */

import { existsSync } from 'node:fs';
import { ReckonError } from '../util/errors.ts';
import { formatCount } from '../util/format.ts';
import { Rng } from '../util/rng.ts';
import type { Columns } from './columns.ts';
import { type Contamination, contaminationOf } from './contamination.ts';
import { endingOf } from './data-files.ts';
import type { Problem } from './problem.ts';
import { problemsOf } from './problem-rows.ts';
import { readData } from './read-data.ts';
import { type BadRow, BadRows } from './rows.ts';
import { type ProblemSplits, planSplits, type SplitPlan } from './splits.ts';

/** The data sets that have a name. */
export type DataSetName = 'gsm8k' | 'math' | 'numina';

/** What may be said of a data set; all but `splitSeed` has defaults where the data set has a name. */
export interface ProblemSetOptions {
  /** A file, a folder, or a data set on the hub (`org/name`, `org/name@revision`). */
  readonly path?: string | undefined;
  readonly columns?: Columns | undefined;
  /** Of gsm8k: `official` (default) or the 6,792 / 1,000 / 1,000 of `seed2`, which trains on official test rows. */
  readonly split?: 'official' | 'seed2' | undefined;
  readonly splits?: SplitPlan | undefined;
  readonly splitSeed: number;
  /** Leaves malformed rows out; they are counted and listed. */
  readonly skipBad?: boolean | undefined;
  /** Keeps problems whose other columns have one of these values, such as `{ level: ['Level 5'] }`. */
  readonly where?: Readonly<Record<string, readonly (string | number | boolean)[]>> | undefined;
  /** Told what is downloaded. */
  readonly log?: (line: string) => void;
}

/** The problems of a task in their parts, and what must be known about them. */
export interface ProblemSet {
  readonly name: string;
  readonly splits: ProblemSplits;
  /** Malformed rows that were left out. */
  readonly skipped: readonly BadRow[];
  /** Tested problems that are trained on; of gsm8k's split seed2 against the official test part. */
  readonly contamination: Contamination;
  /** What a reader of results must be told, a sentence each. */
  readonly notes: readonly string[];
}

interface KnownSet {
  readonly hub: string;
  readonly columns: Columns;
  readonly plan: SplitPlan;
  /** Whether a file of the repository or folder is part of it. */
  readonly keep: (path: string) => boolean;
  /** What stands at `path` where it is a copy of one's own. */
  readonly copy: string;
}

const KNOWN: Readonly<Record<DataSetName, KnownSet>> = {
  gsm8k: {
    hub: 'openai/gsm8k',
    columns: { question: 'question', solution: 'answer' },
    plan: { validation: 1000 },
    // Beside the questions the repositories hold a Socratic variant of them and outputs of models.
    keep: (path) => !/socratic|example_model_solutions/.test(path),
    copy: 'train.jsonl and test.jsonl of openai/grade-school-math',
  },
  math: {
    hub: 'EleutherAI/hendrycks_math',
    columns: { question: 'problem', solution: 'solution', answer: 'answer' },
    plan: { validation: 500 },
    keep: () => true,
    copy: "MATH's folders train and test, or files with the columns problem and solution",
  },
  numina: {
    hub: 'AI-MO/NuminaMath-TIR',
    columns: { question: 'problem', solution: 'solution', answer: 'answer' },
    plan: {},
    keep: () => true,
    copy: 'files with the columns problem and solution',
  },
};

/**
 * Reads, maps and splits a data set by name. Without `path` it comes from the hub or its cache; where neither has it the
 * error says what to fetch. Throws what reading, mapping and splitting throw.
 */
export async function loadProblemSet(name: DataSetName, options: ProblemSetOptions): Promise<ProblemSet> {
  const known = KNOWN[name];
  const path = await folderOf(name, known, options);
  return assemble(name, path, { ...options, columns: options.columns ?? known.columns }, known);
}

/** The problems of any data set by its columns. Throws as `loadProblemSet` does. */
export async function loadFileSet(
  options: ProblemSetOptions & { readonly path: string; readonly columns: Columns },
): Promise<ProblemSet> {
  const path = existsSync(options.path) ? options.path : await fromHub(options.path, () => true, options);
  return assemble('file', path, options, null);
}

async function assemble(
  name: string,
  path: string,
  options: ProblemSetOptions & { readonly columns: Columns },
  known: KnownSet | null,
): Promise<ProblemSet> {
  const bad = new BadRows(options.skipBad ?? false);
  const rows = await readData(path, bad, known?.keep);
  const all = problemsOf(name, rows, options.columns, bad);
  const data = new Map(
    [...all].map(([split, problems]) => [split, problems.filter(wanted(options))] as const),
  );
  const seed2 = options.split === 'seed2';
  const splits = seed2
    ? seed2Splits(data, options.splitSeed)
    : planSplits(data, { ...known?.plan, ...options.splits }, options.splitSeed);
  const contamination = contaminationOf(splits.train, seed2 ? (data.get('test') ?? []) : splits.test);
  return {
    name,
    splits,
    skipped: bad.found,
    contamination,
    notes: [...contaminationNotes(name, contamination, seed2), ...skippedNotes(bad.found)],
  };
}

/** Seed 2's own split: all rows in one seeded order, 6,792 / 1,000 / 1,000 of 8,792. */
function seed2Splits(data: ReadonlyMap<string, readonly Problem[]>, seed: number): ProblemSplits {
  const shuffled = new Rng({ seed, purpose: 'split', id: 'gsm8k/seed2' }).shuffled([...data.values()].flat());
  const held = Math.min(1000, Math.floor(shuffled.length / 4));
  const first = shuffled.length - 2 * held;
  return {
    train: shuffled.slice(0, first),
    validation: shuffled.slice(first, first + held),
    test: shuffled.slice(first + held),
  };
}

function wanted({ where = {} }: ProblemSetOptions): (problem: Problem) => boolean {
  const tests = Object.entries(where);
  return ({ meta }) =>
    tests.every(([column, values]) => (values as readonly unknown[]).includes(meta[column]));
}

function contaminationNotes(
  name: string,
  { tested, exact, normalised }: Contamination,
  seed2: boolean,
): string[] {
  if (exact + normalised === 0) return [];
  const how = normalised === 0 ? '' : ` (${normalised} of them but for spelling)`;
  const found = `${formatThousands(exact + normalised)} of ${formatThousands(tested)}`;
  if (!seed2) return [`${name}: ${found} test questions are also trained on${how}.`];
  return [
    `gsm8k, split seed2: ${found} questions of the official test part are trained on${how}, so results cannot be compared with published ones.`,
  ];
}

function skippedNotes(skipped: readonly BadRow[]): string[] {
  const rows = skipped.length === 1 ? 'row was' : 'rows were';
  return skipped.length === 0 ? [] : [`${formatCount(skipped.length)} malformed ${rows} left out.`];
}

function formatThousands(value: number): string {
  return value.toLocaleString('en-US');
}

async function folderOf(name: string, known: KnownSet, options: ProblemSetOptions): Promise<string> {
  const { path } = options;
  if (path !== undefined && existsSync(path)) return path;
  try {
    return await fromHub(path ?? known.hub, known.keep, options);
  } catch (thrown) {
    if (!(thrown instanceof ReckonError)) throw thrown;
    const { category, code, message } = thrown;
    const advice = `${name} can also be read from a copy: set task.path (or --path) to a folder with ${known.copy}`;
    throw new ReckonError(category, code, `${message}; ${advice}`, { cause: thrown });
  }
}

/** The folder of a data set's files on the hub, or in its cache; loaded here, because most tasks do without. */
async function fromHub(
  name: string,
  keep: (path: string) => boolean,
  { log }: Pick<ProblemSetOptions, 'log'>,
): Promise<string> {
  const { localDataset } = await import('../hub/index.ts');
  const choose = (paths: readonly string[]): string[] =>
    paths.filter((path) => endingOf(path) !== null && keep(path));
  return await localDataset(name, choose, log === undefined ? {} : { log });
}
