/**
 * Owns evaluations that are gone on with where they were cut off: completions and rows on disk a problem at a time, beside
 * the settings that they were made with. Samples and judges nothing itself.
 */

import { existsSync, readFileSync, rmSync } from 'node:fs';
import { z } from 'zod';
import type { Rollout } from '../rollouts/rollout.ts';
import { ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { JsonlWriter, readJsonl } from '../util/jsonl.ts';
import { byProblem, type EvaluationRow, readRows } from './rows.ts';

/** What makes two evaluations the same: every setting that a row depends on, as flat names and values. */
export type EvaluationSettings = Readonly<Record<string, string | number | boolean | null>>;

/** A problem as far as resuming goes. */
export interface Named {
  readonly id: string;
}

/** All completions of problems by the problem's id. */
export type Completions = ReadonlyMap<string, readonly Rollout[]>;

/** An evaluation that may have been begun before. */
export interface EvaluationJob<P extends Named> {
  readonly rowsPath: string;
  /** Where completions wait until all of their batch are judged. */
  readonly samplesPath: string;
  /** Where its settings are kept. */
  readonly settingsPath: string;
  readonly settings: EvaluationSettings;
  /** Throws away what was done before. */
  readonly fresh: boolean;
  /** What to do where rows of other settings are there: refuse (default), or replace them. */
  readonly others?: 'refuse' | 'replace' | undefined;
  readonly problems: readonly P[];
  /** Problems that are sampled together. */
  readonly batch: number;
  readonly samplesPerProblem: number;
  /** Whether what is sampled is the same bits where the rest of a batch is known; else a batch is sampled whole or again. */
  readonly exactWithin: boolean;
  /** Samples the problems that are not known, and gives each one's completions to `keep` as soon as all have ended. */
  readonly sample: (
    problems: readonly P[],
    known: Completions,
    keep: (completions: readonly Rollout[]) => void,
  ) => Promise<void>;
  /** The rows of all samples of problems, in order. */
  readonly judge: (
    problems: readonly P[],
    completions: readonly (readonly Rollout[])[],
  ) => Promise<readonly EvaluationRow[]>;
  readonly stopRequested: () => boolean;
  readonly onProgress: (state: EvaluationState) => void;
}

/** How far an evaluation is. */
export interface EvaluationState {
  /** Problems with all their completions. */
  readonly sampled: number;
  /** Problems with all their rows. */
  readonly judged: number;
  /** Problems that were sampled before this process began. */
  readonly before: number;
  readonly rows: readonly EvaluationRow[];
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

/** Problems that are judged together, and whose rows are written at once. */
const JUDGED_TOGETHER = 64;
/**
 * Between two syncs, or longer where the disk is slow, so that they take half a hundredth of the time: a process that is killed
 * loses nothing, a machine that loses its power at most this.
 */
const SYNC_MS = 1000;
const SYNC_SHARE = 0.005;

/**
 * Evaluates what is not on the disk yet, batch by batch: completions are kept as they end, rows as they are judged, in
 * the order of the problems. Throws `evaluation-differs` where rows of other settings lie there, naming the first that
 * differs.
 */
export async function evaluateResumably<P extends Named>(job: EvaluationJob<P>): Promise<JobResult> {
  const earlier = job.fresh ? null : readProgress(job);
  const rows = earlier === null ? [] : wholeProblems(job);
  writeLines(job.rowsPath, rows);
  using judged = new JsonlWriter(job.rowsPath);
  const clock = new Clock(job, earlier?.seconds ?? 0, [judged]);
  const first = job.batch * Math.floor(rows.length / job.samplesPerProblem / job.batch);
  let known = earlier === null || !job.exactWithin ? new Map() : keptSamples(job, first);
  const before = Math.max(rows.length / job.samplesPerProblem, first + known.size);
  for (let start = first; start < job.problems.length; start += job.batch) {
    const batch = { start, problems: job.problems.slice(start, start + job.batch), before, known };
    await runBatch(job, batch, { rows, judged, clock });
    known = new Map();
    if (rows.length < (start + batch.problems.length) * job.samplesPerProblem)
      return { rows, finished: false, seconds: clock.save() };
  }
  const seconds = clock.save();
  rmSync(job.samplesPath, { force: true });
  return { rows, finished: true, seconds };
}

/** A batch of problems, and the completions that are there already. */
interface BatchOf<P> {
  readonly start: number;
  readonly problems: readonly P[];
  readonly before: number;
  readonly known: Map<string, readonly Rollout[]>;
}

interface RowSink {
  readonly rows: EvaluationRow[];
  readonly judged: JsonlWriter;
  readonly clock: Clock;
}

/** Samples what is not known of a batch, then judges what has no rows; ends early where a stop is asked for. */
async function runBatch<P extends Named>(
  job: EvaluationJob<P>,
  { start, problems, before, known }: BatchOf<P>,
  { rows, judged, clock }: RowSink,
): Promise<void> {
  const done = (): number => rows.length / job.samplesPerProblem;
  const tell = (): void => {
    clock.tick();
    const judged = done();
    job.onProgress({ sampled: Math.max(judged, start + known.size), judged, before, rows });
  };
  writeLines(job.samplesPath, [...known.values()].flat());
  using samples = new JsonlWriter(job.samplesPath);
  if (known.size < problems.length && !job.stopRequested()) {
    await job.sample(problems, new Map(known), (completions) => {
      samples.append(...completions);
      known.set(completions[0]!.problemId, completions);
      tell();
    });
  }
  // Rows follow from completions: a machine that loses its power must not have the ones without the others.
  samples.sync();
  const end = start + problems.length;
  for (let at = done(); at < end && !job.stopRequested(); at = done()) {
    const some = job.problems.slice(at, Math.min(at + JUDGED_TOGETHER, end));
    const completions = some.map(({ id }) => known.get(id)!);
    const made = await job.judge(some, completions);
    judged.append(...made);
    for (const row of made) rows.push(row);
    tell();
  }
}

/** The seconds of all attempts, written beside the settings every now and then; what is written until then is synced first. */
class Clock {
  private readonly job: Pick<EvaluationJob<Named>, 'settingsPath' | 'settings'>;
  private readonly earlier: number;
  private readonly files: readonly JsonlWriter[];
  private readonly start = performance.now();
  private due = 0;

  constructor(
    job: Pick<EvaluationJob<Named>, 'settingsPath' | 'settings'>,
    earlier: number,
    files: readonly JsonlWriter[],
  ) {
    this.job = job;
    this.earlier = earlier;
    this.files = files;
    this.save();
  }

  tick(): void {
    if (performance.now() > this.due) this.save();
  }

  save(): number {
    const begun = performance.now();
    for (const file of this.files) file.sync();
    const seconds = this.earlier + (performance.now() - this.start) / 1000;
    const progress = { version: 1, seconds, settings: this.job.settings };
    writeFileAtomic(this.job.settingsPath, `${JSON.stringify(progress, null, 1)}\n`);
    const ended = performance.now();
    this.due = ended + Math.max(SYNC_MS, (ended - begun) / SYNC_SHARE);
    return seconds;
  }
}

/** The settings of an evaluation that was begun; null where there are none to read. */
export function settingsAt(path: string): EvaluationSettings | null {
  const parsed = existsSync(path) ? progressSchema.safeParse(parseJson(readFileSync(path, 'utf8'))) : null;
  return parsed?.success === true ? parsed.data.settings : null;
}

function readProgress(
  job: Pick<EvaluationJob<Named>, 'rowsPath' | 'settingsPath' | 'settings' | 'others'>,
): z.infer<typeof progressSchema> | null {
  if (!existsSync(job.settingsPath)) return null;
  try {
    return sameProgress(job);
  } catch (error) {
    if (job.others === 'replace') return null;
    throw error;
  }
}

function sameProgress(
  job: Pick<EvaluationJob<Named>, 'rowsPath' | 'settingsPath' | 'settings'>,
): z.infer<typeof progressSchema> {
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

/** The rows of the first problems, as far as each has all its own: what a killed process left half written is judged again. */
function wholeProblems<P extends Named>(job: EvaluationJob<P>): EvaluationRow[] {
  if (!existsSync(job.rowsPath)) return [];
  const groups = byProblem(readRows(job.rowsPath));
  const whole = groups.findIndex(
    (rows, i) => rows.length !== job.samplesPerProblem || rows[0]?.problemId !== job.problems[i]?.id,
  );
  return groups.slice(0, whole < 0 ? groups.length : whole).flat();
}

/** What is there of the batch that begins with a problem: completions of problems that have all of theirs. */
function keptSamples<P extends Named>(job: EvaluationJob<P>, start: number): Map<string, readonly Rollout[]> {
  if (!existsSync(job.samplesPath)) return new Map();
  const ids = new Set(job.problems.slice(start, start + job.batch).map(({ id }) => id));
  const groups = byProblem(readJsonl(job.samplesPath, (value) => rolloutSchema.parse(value)));
  const whole = groups.filter(
    (completions) => completions.length === job.samplesPerProblem && ids.has(completions[0]!.problemId),
  );
  return new Map(whole.map((completions) => [completions[0]!.problemId, completions]));
}

function writeLines(path: string, values: readonly unknown[]): void {
  writeFileAtomic(path, values.map((value) => `${JSON.stringify(value)}\n`).join(''));
}

/** JSON has no word for NaN: what is null was not finite. */
const numbers = z.array(
  z
    .number()
    .nullable()
    .transform((value) => value ?? Number.NaN),
);
const rolloutSchema: z.ZodType<Rollout> = z.object({
  problemId: z.string(),
  sampleIndex: z.int().nonnegative(),
  promptIds: numbers,
  completionIds: numbers,
  logps: numbers,
  samplingLogps: numbers,
  stopReason: z.enum(['eos', 'stop', 'length', 'aborted']),
  text: z.string(),
  policyStep: z.int(),
});

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
