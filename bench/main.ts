/**
 * Owns `npm run bench`: what is fast here, measured on the paths that users take; prints medians and writes JSON.
 * `npm run bench -- door | grpo | generation [row ...] | grade` runs a part; RECKON_BENCH_REPEATS says how often, by default 5.
 */

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { describeRuntime, kernelLevel, setThreads } from '../src/torch/index.ts';
import { formatTable } from '../src/util/format.ts';
import { benchDoor } from './door.ts';
import { benchGeneration, works } from './generation.ts';
import { benchGrade } from './grade.ts';
import { benchGrpoStep } from './grpo-step.ts';
import type { Measurement } from './measure.ts';

setThreads(Number(process.env['RECKON_THREADS'] ?? cpus().length));
const [what, ...names] = process.argv.slice(2);
const repeats = Number(process.env['RECKON_BENCH_REPEATS'] ?? 5);
const generation = () => benchGeneration(names.length > 0 ? names : Object.keys(works), repeats);
const parts = {
  door: async () => benchDoor(),
  grpo: benchGrpoStep,
  generation,
  grade: () => benchGrade(repeats),
};
if (what !== undefined && !(what in parts))
  throw new Error(`expected ${Object.keys(parts).join(', ')}, found '${what}'`);
const rows: Measurement[] = [];
for (const [name, part] of Object.entries(parts))
  if (what === undefined || what === name) rows.push(...(await part()));
const header = ['what', 'median', 'fastest', 'slowest', 'unit', 'aim'];
const show = (value: number) => value.toPrecision(3);
process.stdout.write(
  `${formatTable([header, ...rows.map((r) => [r.name, show(r.median), show(r.fastest), show(r.slowest), r.unit, r.aim ?? ''])])}\n`,
);
const result = {
  version: 1,
  date: new Date().toISOString(),
  commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
  machine: {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    ...describeRuntime(),
    kernels: kernelLevel(),
  },
  measurements: rows,
};
mkdirSync('bench/results', { recursive: true });
const path = `bench/results/${result.date.slice(0, 10)}-${result.commit}${what ? `-${what}` : ''}.json`;
writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`);
process.stdout.write(`written to ${path}\n`);
