/** Owns a run small enough to be done in seconds, started as a process of its own, and what two equal runs share. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

export const ROOT: string = fileURLToPath(new URL('../..', import.meta.url));
const MAIN = join(ROOT, 'dist', 'cli', 'main.js');
const OWN = { NO_COLOR: '1', RECKON_THREADS: '1' };

/** Whole grpo: two passes over two minibatches, a reference, a KL term. */
const STAGES = `
  - type: prepare
  - { type: evaluate, label: untrained }
  - { type: sft, steps: 24, optimizerBatch: 16, microBatchTokens: 1024, learningRate: 3.0e-3, warmupSteps: 2 }
  - { type: evaluate, label: sft }
  - { type: grpo, steps: 12, promptsPerStep: 8, groupSize: 4, optimizerBatch: 16, epochs: 2, kl: { beta: 0.05 },
      reference: start, rewards: [{ name: format, weight: 1 }, { name: correct, weight: 1 }],
      microBatchTokens: 1024, learningRate: 2.0e-3, schedule: linear }
  - { type: evaluate, label: grpo }
  - type: report`;

const INIT =
  'init: { hiddenSize: 32, layers: 2, heads: 2, keyValueHeads: 1, intermediateSize: 64, maxPositions: 256 }';

/** What a test may want otherwise than usual; `model` is a model folder to start from. */
export interface TinyOptions {
  readonly model?: string;
  readonly stages?: string;
  readonly dtype?: 'f32' | 'bf16';
  readonly maxCompletionTokens?: number;
}

const folders: string[] = [];

afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});

/** An empty folder that is removed once the tests of the file that uses it are over. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'reckon-e2e-'));
  folders.push(folder);
  return folder;
}

/** A folder with `recipe.yaml` in it, for runs beside it. */
export function tinyFolder(options: TinyOptions = {}): string {
  const folder = temporaryFolder();
  const { model, stages = STAGES, dtype = 'f32', maxCompletionTokens = 80 } = options;
  writeFileSync(
    join(folder, 'recipe.yaml'),
    `version: 1
name: tiny
seed: 3
task: { name: game24 }
model: { ${model === undefined ? INIT : `path: ${JSON.stringify(model)}`} }
compute: { dtype: ${dtype}, threads: 1 }
sampling: { maxCompletionTokens: ${maxCompletionTokens} }
evaluation: { samplesPerProblem: 2 }
checkpoints: { every: 3, keepLast: 2 }
stages:${stages}
`,
  );
  return folder;
}

/** How a process ended; `output` is stdout and stderr together. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly output: string;
}

/** A process that a test started. */
export interface Started {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** Resolves to true once the output holds `text`, to false where the process ends without it. */
  seen(text: string): Promise<boolean>;
}

/** Starts any program, its output gathered. */
export function start(program: string, words: readonly string[], options: StartOptions = {}): Started {
  const child = spawn(program, [...words], {
    cwd: options.cwd ?? ROOT,
    env: { ...process.env, ...OWN, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
    ...(options.uid === undefined ? {} : { uid: options.uid }),
  });
  let stdout = '';
  let stderr = '';
  let output = '';
  const gather = (text: string): string => {
    output += text;
    return text;
  };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += gather(text);
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += gather(text);
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal, stdout, stderr, output }));
  });
  const seen = (text: string): Promise<boolean> =>
    new Promise((resolve) => {
      const look = (): void => {
        if (output.includes(text)) resolve(true);
      };
      look();
      child.stdout.on('data', look);
      child.stderr.on('data', look);
      child.on('close', () => resolve(output.includes(text)));
    });
  return { child, ended, seen };
}

export interface StartOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
}

/** Starts `reckon <words>`. */
export function startReckon(words: readonly string[], options: StartOptions = {}): Started {
  return start(process.execPath, [MAIN, ...words], options);
}

/** The command line that runs the recipe of a folder into its `name`d run; give it again to resume. */
export function runWords(folder: string, name: string, ...more: readonly string[]): string[] {
  return ['run', join(folder, 'recipe.yaml'), '--runs-dir', folder, '--name', name, ...more];
}

/** Runs the recipe of a folder to its end, or to the first error. */
export function runTiny(folder: string, name: string, ...more: readonly string[]): Promise<Ended> {
  return startReckon(runWords(folder, name, ...more)).ended;
}

/** A model folder that keeps the trace format now and then, so that groups have a spread to learn from. */
export async function trainedModel(): Promise<string> {
  const stages = `
  - type: prepare
  - { type: sft, steps: 200, optimizerBatch: 16, microBatchTokens: 2048, learningRate: 6.0e-3, warmupSteps: 5 }`;
  const folder = tinyFolder({ stages });
  const { code, output } = await runTiny(folder, 'base', '--set', 'checkpoints.every=200');
  if (code !== 0) throw new Error(output);
  return join(folder, 'base', '02-sft', 'checkpoints', 'step-000200');
}

const TIMES = /^(time|perf|memory)\//;

/**
 * Everything of a run that must not depend on whether it was interrupted, by path: weights, optimizer and counters of
 * each stage's result, problems, rollouts, metrics without times, evaluations and summary without seconds.
 */
export function essence(run: string): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const stage of readdirSync(run).filter((name) => /^\d\d-/.test(name))) {
    const record = json(join(run, stage, 'stage.json'));
    found[`${stage}/stage.json`] = { ...record, startedAt: null, seconds: null };
    const output = record['output'];
    if (typeof output === 'string') Object.assign(found, hashes(run, output));
    for (const kind of ['problems', 'rollouts']) Object.assign(found, hashes(run, `${stage}/${kind}`));
    const metrics = join(run, stage, 'metrics.jsonl');
    if (existsSync(metrics)) found[`${stage}/metrics.jsonl`] = lines(metrics).map(withoutTimes);
  }
  for (const name of readdirSync(join(run, 'evaluations'))) {
    const path = join(run, 'evaluations', name);
    found[`evaluations/${name}`] = name.endsWith('.jsonl') ? lines(path) : { ...json(path), seconds: null };
  }
  const comparisons = join(run, 'comparisons');
  for (const name of existsSync(comparisons) ? readdirSync(comparisons) : [])
    if (name.endsWith('.json')) found[`comparisons/${name}`] = json(join(comparisons, name));
  found['summary.json'] = { ...json(join(run, 'summary.json')), seconds: null };
  found['recipe.yaml'] = readFileSync(join(run, 'recipe.yaml'), 'utf8').replace(/^name: .*/m, '');
  return found;
}

/** A JSON file as an object. */
export function json(path: string): Record<string, unknown> {
  return JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
}

/** The lines of a JSONL file. */
export function lines(path: string): Record<string, unknown>[] {
  const text = readFileSync(path, 'utf8').trimEnd();
  return text.split('\n').map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** Files that a killed process left aside. */
export function leftovers(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true }) as string[];
  return names.filter((name) => /\.(tmp|old|stale)-/.test(name));
}

function withoutTimes(line: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(line).filter(([name]) => !TIMES.test(name)));
}

function hashes(run: string, folder: string): Record<string, string> {
  const root = join(run, folder);
  if (!existsSync(root)) return {};
  const files = readdirSync(root, { withFileTypes: true, recursive: true }).filter((entry) => entry.isFile());
  return Object.fromEntries(
    files.map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return [path.slice(run.length + 1), createHash('sha256').update(readFileSync(path)).digest('hex')];
    }),
  );
}
