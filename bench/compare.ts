/**
 * Owns the measuring of a row: both sides in processes of their own on the same weights, one step of ours, one of theirs, and
 * again, so that both meet the same machine; memory one process after the other.
 */

import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { freemem, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Summary, summary } from './measure.ts';
import type { Answer, Question } from './protocol.ts';
import { type RowResult, verdictOf } from './results.ts';
import { limitsWork, type Row, type Variant } from './rows.ts';
import { type Python, Side } from './side.ts';
import {
  type ModelName,
  models,
  promptIds,
  storedDtype,
  tiny,
  tinyModels,
  tokensOf,
  type Work,
  weightBytes,
} from './works.ts';

export interface CompareOptions {
  readonly repeats: number;
  readonly threads: number;
  readonly python: Python;
  /** Next to nothing is computed: to see that everything runs. */
  readonly tiny: boolean;
  readonly log: (line: string) => void;
}

/** Steps of a memory row: the second has the optimizer's state beside its rollouts. */
const memorySteps = 2;

type Measured = Pick<
  RowResult,
  'unit' | 'ours' | 'theirs' | 'variant' | 'tried' | 'ratio' | 'why' | 'parts' | 'theirParts'
>;

/** Measures rows; owns the folder of weights that both sides read. */
export class Comparison implements Disposable {
  private readonly options: CompareOptions;
  /** Where the weights lie until it is disposed. */
  readonly folder: string = mkdtempSync(join(tmpdir(), 'reckon-bench-'));
  private readonly written = new Set<ModelName>();

  constructor(options: CompareOptions) {
    this.options = options;
  }

  /** GFLOP/s of products and GB/s of reading memory, and what our process says of the machine. */
  async limits(): Promise<{ limits: Record<string, Summary>; runtime: Readonly<Record<string, unknown>> }> {
    await using side = await Side.ours(this.question(limitsWork, 'bf16', null));
    const answers = await times(this.options.repeats, () => side.step());
    return { limits: partsOf(answers, summary), runtime: side.runtime };
  }

  async row(row: Row): Promise<RowResult> {
    const { tiny, python } = this.options;
    const free = freeGibibytes();
    const none: Measured = {
      unit: '',
      ours: null,
      theirs: null,
      variant: null,
      tried: {},
      ratio: null,
      why: null,
      parts: {},
      theirParts: {},
    };
    let found: Measured;
    if (!tiny && free < row.gibibytes)
      found = { ...none, why: `needs ${row.gibibytes} GiB of free memory, found ${free.toFixed(1)}` };
    else {
      const why = row.theirs.length > 0 ? python.missingFor(row.work.kind) : null;
      if (why)
        this.options.log(
          `${row.id}: the other side is left out: ${why} (RECKON_BENCH_PYTHON names another Python)`,
        );
      try {
        await this.writeWeights(row.work);
        found = { ...none, ...(await this[row.measure]({ ...row, theirs: why ? [] : row.theirs })), why };
      } catch (error) {
        // The other rows are measured all the same, and this one when it is asked for again.
        found = { ...none, why: `failed: ${error instanceof Error ? error.message : error}` };
      }
    }
    const { id, what, atLeast, aim } = row;
    const verdict = verdictOf(row, found.ratio?.median ?? null);
    return { id, what, measured: new Date().toISOString(), ...found, atLeast, aim, verdict };
  }

  private async speed(row: Row): Promise<Partial<Measured>> {
    const { variant, tried } = await this.fastest(row);
    await using ours = await Side.ours(this.question(row.work, row.dtype, null));
    await using theirs = variant && (await this.theirs(row, variant));
    const mine: Answer[] = [];
    const other: Answer[] = [];
    for (let i = 0; i <= this.options.repeats; i++) {
      const [a, b] = [await ours.step(), await theirs?.step()];
      if (i === 0) continue; // both warm up
      mine.push(a);
      if (b) other.push(b);
    }
    const tokens = tokensOf(this.sized(row.work));
    const unit = row.work.kind === 'grpo' ? 's' : 'tok/s';
    const shown = (answers: readonly Answer[]) =>
      answers.length === 0
        ? null
        : summary(answers.map(({ seconds }) => (unit === 's' ? seconds : tokens / seconds)));
    return {
      unit,
      ours: shown(mine),
      theirs: shown(other),
      variant: variant?.name ?? null,
      tried,
      ratio: other.length === 0 ? null : summary(other.map(({ seconds }, i) => seconds / mine[i]!.seconds)),
      parts: partsOf(mine, (values) => summary(values).median),
      theirParts: partsOf(other, (values) => summary(values).median),
    };
  }

  /** How the other side is fastest in its second step, each way in a process alone. */
  private async fastest(row: Row): Promise<{ variant: Variant | null; tried: Record<string, number> }> {
    const tried: Record<string, number> = {};
    const [only] = row.theirs;
    if (only === undefined || row.theirs.length === 1) return { variant: only ?? null, tried };
    for (const variant of row.theirs) {
      await using side = await this.theirs(row, variant);
      tried[variant.name] = (await times(2, () => side.step()))[1]!.seconds;
    }
    const least = Math.min(...Object.values(tried));
    return { variant: row.theirs.find(({ name }) => tried[name] === least)!, tried };
  }

  private async theirs(row: Row, variant: Variant): Promise<Side> {
    return await Side.theirs(this.options.python.command, this.question(row.work, row.dtype, variant));
  }

  private async memory(row: Row): Promise<Partial<Measured>> {
    const peak = async (start: () => Promise<Side>): Promise<Answer> => {
      await using side = await start();
      return (await times(memorySteps, () => side.step())).at(-1)!;
    };
    const mine = await peak(() => Side.ours(this.question(row.work, row.dtype, null)));
    const variant = row.theirs[0];
    const other = variant && (await peak(() => this.theirs(row, variant)));
    return {
      unit: 'MiB',
      ours: summary([mine.peakBytes / 2 ** 20]),
      theirs: other ? summary([other.peakBytes / 2 ** 20]) : null,
      variant: other ? variant.name : null,
      ratio: other ? summary([mine.peakBytes / other.peakBytes]) : null,
      parts: { seconds: mine.seconds, ...mine.parts },
      theirParts: other ? { seconds: other.seconds } : {},
    };
  }

  /** Bytes of weights over what memory gives, over the time of a decoding step; both measured by turns. */
  private async bandwidth(row: Row): Promise<Partial<Measured>> {
    await using ours = await Side.ours(this.question(row.work, row.dtype, null));
    await using machine = await Side.ours(this.question(limitsWork, row.dtype, null));
    const { config } = this.question(row.work, row.dtype, null);
    const gigabytes = weightBytes(config, 2) / 1e9;
    const mine: Answer[] = [];
    const share: number[] = [];
    for (let i = 0; i <= this.options.repeats; i++) {
      const [{ parts: limit }, answer] = [await machine.step(), await ours.step()];
      if (i === 0) continue;
      mine.push(answer);
      share.push(gigabytes / limit!['read']! / answer.parts!['decodeStep']!);
    }
    return {
      unit: 'GB/s',
      ours: summary(mine.map(({ parts }) => gigabytes / parts!['decodeStep']!)),
      ratio: summary(share),
      parts: partsOf(mine, (values) => summary(values).median),
    };
  }

  private sized(work: Work): Work {
    return this.options.tiny ? tiny(work) : work;
  }

  private question(work: Work, dtype: 'bf16' | 'f32', variant: Variant | null): Question {
    const sized = this.sized(work);
    const model = 'model' in work ? work.model : 'small';
    return {
      work: sized,
      folder: join(this.folder, model),
      config: (this.options.tiny ? tinyModels : models)[model],
      dtype,
      stored: storedDtype[model],
      variant,
      prompts: promptsOf(sized),
      threads: this.options.threads,
    };
  }

  private async writeWeights(work: Work): Promise<void> {
    if (!('model' in work) || this.written.has(work.model)) return;
    const asked = this.question(work, storedDtype[work.model], null);
    await using _writer = await Side.ours({ ...asked, work: { kind: 'weights' } });
    this.written.add(work.model);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function promptsOf(work: Work): number[][] {
  const several = (count: number, length: number) =>
    Array.from({ length: count }, (_, i) => promptIds(i, length));
  if (work.kind === 'generate') return several(work.lengths.length / work.group, work.prompt);
  if (work.kind === 'grpo') return several(work.prompts, work.prompt);
  return work.kind === 'sft' ? several(work.rows, work.length) : [];
}

async function times<T>(count: number, call: () => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let i = 0; i < count; i++) results.push(await call());
  return results;
}

function partsOf<T>(answers: readonly Answer[], read: (values: number[]) => T): Record<string, T> {
  const names = Object.keys(answers[0]?.parts ?? {});
  return Object.fromEntries(names.map((name) => [name, read(answers.map(({ parts }) => parts![name]!))]));
}

/** What can be had without swapping; caches count as free where the kernel says so. */
function freeGibibytes(): number {
  try {
    const found = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync('/proc/meminfo', 'utf8'));
    if (found) return Number(found[1]) / 2 ** 20;
  } catch {
    // No such file but on Linux.
  }
  return freemem() / 2 ** 30;
}
