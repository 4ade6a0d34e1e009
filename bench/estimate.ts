/**
 * Owns `npx tsx bench/estimate.ts [recipe...]`: runs recipes (the offline twins by default) and sets what `reckon recipe check`
 * said of them beside what they took. Linux only: the peak of memory is read from /proc.
 */

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { derivePlan, type Estimate, estimate, openRecipe } from '../src/recipe/index.ts';
import { markdownTable, readRun } from '../src/report/index.ts';
import { thisMachine } from '../src/run/index.ts';
import { taskFacts } from '../src/run/task-facts.ts';
import { formatBytes, formatCount } from '../src/util/format.ts';

/** What a run takes, by estimate or by measurement. */
export interface Use {
  readonly steps: number;
  readonly sampled: number;
  readonly trained: number;
  readonly diskBytes: number;
}

/** The estimate that `reckon recipe check` prints. */
export async function estimateOf(path: string): Promise<Estimate> {
  const recipe = await openRecipe(path, {});
  const found = estimate(recipe, derivePlan(recipe), thisMachine(), await taskFacts(recipe));
  if (found === null) throw new Error(`${path}: the size of its model is not known here`);
  return found;
}

/** The estimate as sums over stages. */
export function estimatedUse({ stages, diskBytes }: Estimate): Use {
  const sum = (read: (stage: Estimate['stages'][number]) => number): number =>
    stages.reduce((total, stage) => total + read(stage), 0);
  return {
    steps: sum((s) => s.steps),
    sampled: sum((s) => s.sampled),
    trained: sum((s) => s.trained),
    diskBytes,
  };
}

/** What a run's files say that it took. */
export function measuredUse(runDirectory: string): Use {
  const { stages, evaluations } = readRun(runDirectory);
  const total = (read: (stage: (typeof stages)[number]) => number): number =>
    stages.reduce((sum, stage) => sum + read(stage), 0);
  const evaluated = evaluations.reduce((sum, one) => sum + one.n * one.samplesPerProblem * one.lengthMean, 0);
  return {
    steps: total(({ metrics }) => metrics.at(-1)?.step ?? 0),
    sampled: evaluated + total(({ metrics }) => metrics.at(-1)?.values.get('rollouts/generated_tokens') ?? 0),
    trained: total(({ metrics }) =>
      metrics.reduce((sum, { values }) => sum + (values.get('batch/tokens') ?? 0), 0),
    ),
    diskBytes: bytesOf(runDirectory),
  };
}

function bytesOf(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map((name) => statSync(join(folder, name)))
    .reduce((sum, found) => sum + (found.isFile() ? found.size : 0), 0);
}

interface RunUse extends Use {
  readonly memoryBytes: number;
  readonly seconds: number;
}

/** Runs a recipe in a process of its own. */
async function run(path: string, more: readonly string[]): Promise<RunUse> {
  const runs = mkdtempSync(join(tmpdir(), 'reckon-estimate-'));
  const started = performance.now();
  const child = spawn(
    process.execPath,
    ['dist/cli/main.js', 'run', path, '--runs-dir', runs, '--quiet', ...more],
    {
      stdio: 'inherit',
    },
  );
  let memoryBytes = 0;
  const status = `/proc/${child.pid}/status`;
  const timer = setInterval(() => {
    if (!existsSync(status)) return;
    const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync(status, 'utf8'))?.[1];
    memoryBytes = Math.max(memoryBytes, 1024 * Number(peak ?? 0));
  }, 10);
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  clearInterval(timer);
  const seconds = (performance.now() - started) / 1000;
  if (code !== 0) throw new Error(`${path} ended with ${code}`);
  const use = measuredUse(join(runs, readdirSync(runs)[0]!));
  rmSync(runs, { recursive: true });
  return { ...use, memoryBytes, seconds };
}

const TWINS = ['intrinsic-distillation', 'cs336', 'game24-long-cot', 'numina-grpo'];

async function main(words: readonly string[]): Promise<void> {
  const paths = words.length > 0 ? words : TWINS.map((name) => `recipes/${name}/twin.yaml`);
  const rows = [];
  for (const path of paths) {
    const found = await estimateOf(path);
    const said = {
      ...estimatedUse(found),
      memoryBytes: found.memoryBytes,
      seconds: found.seconds ?? Number.NaN,
    };
    const took = await run(path, []);
    const cell = (key: keyof RunUse, write: (value: number) => string): string =>
      `${write(said[key])} / ${write(took[key])} (${(said[key] / took[key]).toFixed(2)})`;
    rows.push([
      path,
      cell('steps', String),
      cell('sampled', (value) => formatCount(Math.round(value))),
      cell('trained', (value) => formatCount(Math.round(value))),
      cell('memoryBytes', formatBytes),
      cell('diskBytes', formatBytes),
      cell('seconds', (value) => `${value.toFixed(1)} s`),
    ]);
  }
  const header = ['recipe', 'steps', 'tokens sampled', 'tokens trained on', 'memory', 'disk', 'time'];
  process.stdout.write(`${markdownTable([header, ...rows])}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
