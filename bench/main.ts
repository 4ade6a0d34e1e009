/** Owns `npm run bench`: what is fast here, measured on the paths that users take; prints medians and writes JSON. */

import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { describeRuntime, setThreads } from '../src/torch/index.ts';
import { formatTable } from '../src/util/format.ts';
import { benchDoor } from './door.ts';
import { benchGrpoStep } from './grpo-step.ts';
import type { Measurement } from './measure.ts';

setThreads(Number(process.env['RECKON_THREADS'] ?? cpus().length));
const rows: Measurement[] = [...benchDoor(), ...(await benchGrpoStep())];
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
  },
  measurements: rows,
};
mkdirSync('bench/results', { recursive: true });
const path = `bench/results/${result.date.slice(0, 10)}-${result.commit}.json`;
writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`);
process.stdout.write(`written to ${path}\n`);
