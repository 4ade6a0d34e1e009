/** Owns Weights & Biases: a small child process on the user's own Python package, told by lines of JSON. Measures nothing. */

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  scalarsOf,
  type TrackedEvaluation,
  type TrackedRows,
  type TrackedRun,
  type Tracker,
} from './tracker.ts';

/** What the recipe says of W&B. */
export interface WandbOptions {
  readonly project: string;
  readonly entity?: string | undefined;
  readonly mode: 'online' | 'offline';
  /** The run's name there; by default its name here. */
  readonly name?: string | undefined;
}

/** How long the end of a run waits for what is still on its way, milliseconds. */
const CLOSE_MS = 60_000;

/** Exit code by which the child says that there is no package. */
const NO_PACKAGE = 3;

/** Runs on the user's Python: the first line is the run, later ones are what is logged. */
const PROGRAM = `
import json, sys
try:
    import wandb
except ImportError:
    sys.exit(${NO_PACKAGE})
run = None
for line in sys.stdin:
    message = json.loads(line)
    if 'init' in message:
        run = wandb.init(**message['init'])
    elif 'stage' in message:
        run.define_metric(message['stage'] + '/step')
        run.define_metric(message['stage'] + '/*', step_metric=message['stage'] + '/step')
    elif 'log' in message:
        run.log(message['log'])
    elif 'summary' in message:
        run.summary.update(message['summary'])
if run is not None:
    run.finish()
`;

/** A run on W&B, gone on with where it was before: its id follows from the run's folder. */
export class WandbTracker implements Tracker {
  readonly name = 'Weights & Biases';
  private readonly child: ChildProcess;
  private readonly ended: Promise<string | null>;
  private readonly stages = new Set<string>();
  private open = true;

  /** `failed` is told once, in a sentence, when the child cannot go on. */
  constructor(
    run: TrackedRun,
    options: WandbOptions,
    failed: (sentence: string) => void,
    python: string = pythonCommand(),
  ) {
    this.child = spawn(python, ['-u', '-c', PROGRAM], { stdio: ['pipe', 'ignore', 'pipe'] });
    let errors = '';
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-2000);
    });
    // A child that is gone is told of by its end, not by the pipe that it leaves.
    this.child.stdin?.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      const end = (problem: string | null): void => {
        if (problem !== null && this.open) failed(problem);
        this.open = false;
        resolve(problem);
      };
      this.child.on('error', () => end(noPackage(python)));
      this.child.on('close', (code) => end(problemOf(code, python, errors)));
    });
    this.send({ init: initOf(run, options) });
  }

  log({ stage, rows }: TrackedRows): void {
    if (!this.stages.has(stage)) this.send({ stage });
    this.stages.add(stage);
    for (const row of rows) {
      const named = Object.entries({ ...scalarsOf(row), step: row.step }).map(([name, value]) => [
        `${stage}/${name}`,
        finite(value),
      ]);
      this.send({ log: Object.fromEntries(named) as object });
    }
  }

  evaluation({ label, values }: TrackedEvaluation): void {
    const named = Object.entries(values).map(([name, value]) => [
      `evaluation/${label}/${name}`,
      finite(value),
    ]);
    this.send({ summary: Object.fromEntries(named) as object });
  }

  async close(): Promise<void> {
    this.child.stdin?.end();
    const timer = setTimeout(() => this.child.kill(), CLOSE_MS);
    await this.ended;
    clearTimeout(timer);
  }

  private send(message: object): void {
    if (this.open) this.child.stdin?.write(`${JSON.stringify(message)}\n`);
  }
}

/** The Python that has the package: RECKON_PYTHON, else python3. */
export function pythonCommand(): string {
  return process.env['RECKON_PYTHON'] ?? 'python3';
}

function initOf({ directory, name, config }: TrackedRun, options: WandbOptions): object {
  const id = createHash('sha256').update(directory).digest('hex').slice(0, 16);
  const { project, entity = null, mode } = options;
  return { project, entity, mode, id, resume: 'allow', name: options.name ?? name, dir: directory, config };
}

/** JSON has no NaN; W&B reads these words as numbers. */
function finite(value: number): number | string {
  if (Number.isFinite(value)) return value;
  return Number.isNaN(value) ? 'NaN' : value > 0 ? 'Infinity' : '-Infinity';
}

function problemOf(code: number | null, python: string, errors: string): string | null {
  if (code === 0) return null;
  if (code === NO_PACKAGE) return noPackage(python);
  const lines = errors.split('\n').filter((line) => line.trim() !== '');
  return `Weights & Biases stopped (${lines.at(-1)?.trim() ?? 'without a word'}); the run goes on without it`;
}

function noPackage(python: string): string {
  return `${python} has no package wandb, so nothing goes to Weights & Biases and the run goes on; \`pip install wandb\`, or name another Python in RECKON_PYTHON`;
}
