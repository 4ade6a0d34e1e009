/**
 * Owns evaluations that are gone on with where they were cut off: rows on disk a batch of problems at a time, beside the
 * settings that they were made with. Samples and judges nothing itself.
 */

import { existsSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { JsonlWriter } from '../util/jsonl.ts';
import { type EvaluationRow, readRows } from './rows.ts';

/** What makes two evaluations the same: every setting that a row depends on, as flat names and values. */
export type EvaluationSettings = Readonly<Record<string, string | number | boolean | null>>;

/** An evaluation that may have been begun before. */
export interface EvaluationJob<P> {
  readonly rowsPath: string;
  /** Where its settings are kept. */
  readonly settingsPath: string;
  readonly settings: EvaluationSettings;
  /** Throws away what was done before. */
  readonly fresh: boolean;
  readonly problems: readonly P[];
  /** Problems that are sampled together: a batch is done whole or again, so that a resumed evaluation has the same rows. */
  readonly batch: number;
  readonly samplesPerProblem: number;
  /** The rows of a batch, all samples of each problem; null where a stop was asked for. */
  readonly evaluate: (problems: readonly P[]) => Promise<readonly EvaluationRow[] | null>;
  readonly stopRequested: () => boolean;
  /** Called after each batch with all rows so far; `before` is how many rows were on the disk already. */
  readonly onBatch: (rows: readonly EvaluationRow[], before: number) => void;
}

/** All rows of a finished evaluation, or what there is of one that was stopped. */
export interface JobResult {
  readonly rows: readonly EvaluationRow[];
  readonly finished: boolean;
  /** Seconds of all attempts. */
  readonly seconds: number;
}

const progressSchema = z.object({
  version: z.literal(1),
  seconds: z.number().nonnegative(),
  settings: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
});

/**
 * Evaluates what is not on the disk yet, batch by batch. Throws `evaluation-differs` where rows of other settings lie at
 * that path, naming the first setting that differs.
 */
export async function evaluateResumably<P>(job: EvaluationJob<P>): Promise<JobResult> {
  const earlier = job.fresh ? null : readProgress(job);
  const before = earlier === null ? [] : wholeBatches(job);
  writeFileAtomic(job.rowsPath, before.map((row) => `${JSON.stringify(row)}\n`).join(''));
  const start = performance.now();
  const seconds = (): number => (earlier?.seconds ?? 0) + (performance.now() - start) / 1000;
  const save = (): void => {
    const progress = { version: 1, seconds: seconds(), settings: job.settings };
    writeFileAtomic(job.settingsPath, `${JSON.stringify(progress, null, 1)}\n`);
  };
  save();
  const rows = [...before];
  using writer = new JsonlWriter(job.rowsPath, { fsync: true });
  while (rows.length < job.problems.length * job.samplesPerProblem) {
    const done = rows.length / job.samplesPerProblem;
    const made = job.stopRequested() ? null : await job.evaluate(job.problems.slice(done, done + job.batch));
    if (made === null || job.stopRequested()) return { rows, finished: false, seconds: seconds() };
    writer.append(...made);
    rows.push(...made);
    save();
    job.onBatch(rows, before.length);
  }
  return { rows, finished: true, seconds: seconds() };
}

function readProgress(
  job: Pick<EvaluationJob<unknown>, 'rowsPath' | 'settingsPath' | 'settings'>,
): z.infer<typeof progressSchema> | null {
  if (!existsSync(job.settingsPath)) return null;
  const parsed = progressSchema.safeParse(parseJson(readFileSync(job.settingsPath, 'utf8')));
  // Settings are written in one step: what does not read is another program's, and its rows cannot be trusted.
  if (!parsed.success) throw differs(job.rowsPath, `its settings at ${job.settingsPath} cannot be read`);
  const { settings } = parsed.data;
  const names = [...new Set([...Object.keys(settings), ...Object.keys(job.settings)])];
  const other = names.find((name) => (settings[name] ?? null) !== (job.settings[name] ?? null));
  if (other === undefined) return parsed.data;
  throw differs(
    job.rowsPath,
    `${other} was ${settings[other] ?? 'not set'} and is ${job.settings[other] ?? 'not set'}`,
  );
}

function differs(path: string, why: string): ReckonError {
  return new ReckonError(
    'usage',
    'evaluation-differs',
    `${path} holds another evaluation (${why}); give this one another --label, or throw that one away with --fresh`,
  );
}

/** The rows of batches that are whole: a batch that a killed process left half written is done again. */
function wholeBatches<P>(job: EvaluationJob<P>): EvaluationRow[] {
  if (!existsSync(job.rowsPath)) return [];
  const rows = readRows(job.rowsPath);
  const all = job.problems.length * job.samplesPerProblem;
  const batch = job.batch * job.samplesPerProblem;
  return rows.slice(0, rows.length >= all ? all : Math.floor(rows.length / batch) * batch);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
