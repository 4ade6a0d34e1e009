/** Owns `npm run bench`: what is asked for, in which order, what is kept of an earlier try; prints and writes JSON. */

import { availableParallelism, cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, InvalidArgumentError } from 'commander';
import { formatDuration, formatTable } from '../src/util/format.ts';
import { Comparison } from './compare.ts';
import type { Measurement } from './measure.ts';
import {
  type BenchResult,
  currentCommit,
  earlierResult,
  type RowResult,
  stillCounts,
  writeResult,
} from './results.ts';
import { groups, type Row, rows } from './rows.ts';
import { formatDetails, formatLimits, formatMeasurements, formatResult, formatRows } from './show.ts';
import { Python } from './side.ts';

/** Parts of our own that have no other side. */
const parts: Readonly<Record<string, (repeats: number) => Promise<Measurement[]>>> = {
  evaluate: async (repeats) => (await import('./evaluate.ts')).benchEvaluate(repeats),
  door: async (repeats) => (await import('./door.ts')).benchDoor(repeats),
  grade: async (repeats) => (await import('./grade.ts')).benchGrade(repeats),
  int8: async (repeats) => (await import('./int8.ts')).benchInt8(repeats),
  sampling: async (repeats) => (await import('./sampling.ts')).benchSampling(repeats),
  products: async (repeats) => (await import('./products.ts')).benchProducts(repeats),
  mixed: async (repeats) => (await import('./mixed.ts')).benchMixed(repeats),
};
const everything = [...rows.map(({ id }) => id), ...Object.keys(parts)];

interface Options {
  readonly repeats: number;
  readonly again: boolean;
  readonly list: boolean;
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`);
};

await new Command('npm run bench --')
  .description(
    'Measure how fast reckon is here, against the Python stack where one is found, and the machine.',
  )
  .argument(
    '[names...]',
    `rows, or ${[...Object.keys(groups), ...Object.keys(parts), 'limits', 'all'].join(', ')}`,
    ['table'],
  )
  .option(
    '--repeats <n>',
    'pairs of measurements a row, after one to warm up',
    count,
    count(process.env['RECKON_BENCH_REPEATS'] || '5'),
  )
  .option('--again', 'measure rows anew that this commit was measured with before', false)
  .option('--list', 'print the rows and end', false)
  .helpOption('--help', 'print this help')
  .addHelpText(
    'after',
    `
RECKON_BENCH_PYTHON names a Python with torch, transformers, peft, trl and datasets (by default python3 is tried),
RECKON_THREADS the threads of both sides. A run that was broken off goes on where it was. The machine should be idle.

Example:
  RECKON_BENCH_PYTHON=venv/bin/python npm run bench -- table
  npm run bench -- half-16 grpo --repeats 3 --again`,
  )
  .action(run)
  .parseAsync();

async function run(names: readonly string[], options: Options): Promise<void> {
  if (options.list) return say(formatList());
  const wanted = new Set(names.flatMap(expanded));
  const chosen = rows.filter(({ id }) => wanted.has(id));
  const tiny = process.env['RECKON_BENCH_TINY'] === '1';
  const folder = tiny ? join(tmpdir(), 'reckon-bench-tiny') : 'bench/results';
  const python = new Python();
  const threads = Number(process.env['RECKON_THREADS'] || availableParallelism());
  using comparison = new Comparison({ ...options, threads, python, tiny, log: say });
  process.once('SIGINT', () => {
    comparison[Symbol.dispose]();
    process.exit(130);
  });
  say(announced(chosen, python, options, tiny));

  const { limits, runtime } = await comparison.limits();
  say(`\n${formatLimits(limits)}\n`);
  const commit = currentCommit();
  const results: RowResult[] = [];
  const measurements: Measurement[] = [];
  const now: BenchResult = {
    version: 2,
    date: new Date().toISOString(),
    commit,
    machine: { cpu: cpus()[0]?.model ?? 'unknown', cores: cpus().length, ...runtime },
    peer: { ...python.versions },
    repeats: options.repeats,
    limits,
    rows: results,
    measurements,
  };
  // What was measured with other sources under the same commit does not count.
  const earlier = !tiny && commit.endsWith('+') ? null : earlierResult(folder, commit);
  measurements.push(...(earlier?.measurements ?? []));
  const kept = earlier?.rows.filter((row) => stillCounts(row, earlier, now)) ?? [];
  results.push(...kept.filter(({ id }) => (options.again ? !wanted.has(id) : true)));
  for (const row of chosen) {
    const before = results.find(({ id }) => id === row.id);
    if (before) {
      say(`${row.id}: measured at ${before.measured}, kept (--again measures it anew)`);
      continue;
    }
    const result = await comparison.row(row);
    results.push(result);
    writeResult(folder, now);
    say(`${formatRows([result])}\n${formatDetails(result).join('\n')}\n`);
  }
  for (const [name, part] of Object.entries(parts)) {
    if (!wanted.has(name)) continue;
    const measured = await part(options.repeats);
    const others = measurements.filter((one) => measured.every(({ name }) => name !== one.name));
    measurements.splice(0, measurements.length, ...others, ...measured);
    say(`${formatMeasurements(measured)}\n`);
  }
  const order = (id: string) => everything.indexOf(id);
  results.sort((a, b) => order(a.id) - order(b.id));
  const path = writeResult(folder, now);
  say(`${formatResult(now)}\n\nwritten to ${path}`);
}

function announced(chosen: readonly Row[], python: Python, { repeats }: Options, tiny: boolean): string {
  const minutes = chosen.reduce((sum, row) => {
    const compared = row.theirs.length > 0 && python.missingFor(row.work.kind) === null;
    return sum + row.minutes[compared ? 0 : 1] * (row.measure === 'memory' ? 1 : (repeats + 1) / 6);
  }, 0);
  const versions = Object.entries(python.versions).map(([name, version]) => `${name} ${version}`);
  return [
    `${chosen.length} rows, ${repeats} repeats: about ${formatDuration(60 * (tiny ? 1 : minutes))} on two idle cores with AVX-512 bf16`,
    versions.length > 0
      ? `the other side: ${python.command} with ${versions.join(', ')}`
      : `no other side: ${python.missingFor('generate')} (RECKON_BENCH_PYTHON names another Python)`,
    ...(tiny ? ['RECKON_BENCH_TINY: next to nothing is computed, the numbers mean nothing'] : []),
  ].join('\n');
}

function expanded(name: string): readonly string[] {
  if (name === 'all') return everything;
  if (name === 'limits') return [];
  const found = groups[name] ?? (everything.includes(name) ? [name] : null);
  if (found) return found;
  process.stderr.write(
    `expected all, limits, ${[...Object.keys(groups), ...everything].join(', ')}, found '${name}'\n`,
  );
  process.exit(2);
}

function formatList(): string {
  const bound = (value: number | null) => (value === null ? '' : String(value));
  return formatTable(
    [
      ['row', 'what', 'at least', 'aim'],
      ...rows.map(({ id, what, atLeast, aim }) => [id, what, bound(atLeast), bound(aim)]),
    ],
    ['left', 'left'],
  );
}

function count(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError(`expected a whole number of 1 or more, found '${text}'`);
}
