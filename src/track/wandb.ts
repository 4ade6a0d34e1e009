/** Owns Weights & Biases: a small child process on the user's own Python package, told by lines of JSON. Measures nothing. */

import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { stripVTControlCharacters } from 'node:util';
import { sha256 } from '../util/files.ts';
import { numberToJson } from '../util/jsonl.ts';
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

/** What W&B says while a run goes on, a sentence each. */
export interface WandbNews {
  /** Nothing, or not everything, gets there. */
  readonly failed: (sentence: string) => void;
  /** Where the run can be seen, or why its end takes a while. */
  readonly told: (sentence: string) => void;
}

/** How long the end of a run waits for what is still on its way, milliseconds. */
const CLOSE_MS = 60_000;
/** After this long the wait is told of. */
const PATIENCE_MS = 3_000;

/** Exit code by which the child says that there is no package. */
const NO_PACKAGE = 3;

/**
 * Runs on the user's Python: the first line is the run, later ones are what is logged. A server that cannot be reached, or a
 * key that is missing, leaves an offline run to be sent later. Rows that a resumed run has already are not logged again.
 */
const PROGRAM = `
import json, os, signal, sys
try:
    import wandb
except ImportError:
    sys.exit(${NO_PACKAGE})
out = os.fdopen(os.dup(1), 'w')
os.dup2(2, 1)

def tell(**what):
    print(json.dumps(what), file=out, flush=True)

def first_line(error):
    return (str(error).strip() or type(error).__name__).split('\\n')[0]

def numbers(values):
    return {name: float(value) if isinstance(value, str) else value for name, value in values.items()}

def begin(options):
    if options['mode'] == 'offline':
        return wandb.init(**options)
    try:
        run = wandb.init(resume='allow', **options)
        tell(url=run.url)
    except Exception as error:
        wandb.teardown()
        run = wandb.init(**{**options, 'mode': 'offline'})
        tell(offline=os.path.dirname(run.dir), reason=first_line(error))
    return run

def follow(lines):
    run, known = begin(json.loads(next(lines))['init']), {}
    for line in lines:
        message = json.loads(line)
        stage = message.get('stage')
        if 'summary' in message:
            run.summary.update(numbers(message['summary']))
        elif 'log' not in message:
            begun = stage + '/started_at'
            if run.summary.get(begun) != message['startedAt']:
                known[stage] = 0
                run.define_metric(stage + '/step')
                run.define_metric(stage + '/*', step_metric=stage + '/step')
                run.summary[begun] = message['startedAt']
            elif stage not in known:
                known[stage] = run.summary.get(stage + '/step', 0)
        elif message['step'] > known[stage]:
            run.log(numbers(message['log']))
            known[stage] = message['step']
    # Nobody may be left to end what never arrives.
    signal.alarm(600)
    run.finish()

try:
    follow(sys.stdin)
except Exception as error:
    tell(failed=first_line(error))
    sys.exit(1)
`;

/** A run on W&B, gone on with where it was before: its id follows from the run's folder. */
export class WandbTracker implements Tracker {
  readonly name = 'Weights & Biases';
  private readonly directory: string;
  private readonly news: WandbNews;
  private readonly child: ChildProcess;
  private readonly ended: Promise<void>;
  private readonly stages = new Set<string>();
  private open = true;
  private problem: string | undefined;

  constructor(run: TrackedRun, options: WandbOptions, news: WandbNews, python: string = pythonCommand()) {
    this.directory = run.directory;
    this.news = news;
    this.child = startChild(python);
    let errors = '';
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-2000);
    });
    if (this.child.stdout !== null)
      createInterface({ input: this.child.stdout }).on('line', (line) => this.hear(line));
    // A child that is gone is told of by its end, not by the pipe that it leaves.
    this.child.stdin?.on('error', () => undefined);
    this.ended = new Promise((resolve) => {
      const end = (problem: string | null): void => {
        if (problem !== null && this.open) news.failed(problem);
        this.open = false;
        resolve();
      };
      this.child.on('error', () => end(noPackage(python)));
      this.child.on('close', (code) => end(problemOf(code, python, this.problem ?? lastLine(errors))));
    });
    this.send({ init: initOf(run, options) });
  }

  log({ stage, startedAt, rows, anew }: TrackedRows): void {
    if (anew || !this.stages.has(stage)) this.send({ stage, startedAt });
    this.stages.add(stage);
    for (const row of rows) {
      const named = Object.entries({ ...scalarsOf(row), step: row.step }).map(([name, value]) => [
        `${stage}/${name}`,
        numberToJson(value),
      ]);
      this.send({ stage, step: row.step, log: Object.fromEntries(named) as object });
    }
  }

  evaluation({ label, values }: TrackedEvaluation): void {
    const named = Object.entries(values).map(([name, value]) => [
      `evaluation/${label}/${name}`,
      numberToJson(value),
    ]);
    this.send({ summary: Object.fromEntries(named) as object });
  }

  async close(): Promise<void> {
    this.child.stdin?.end();
    const seconds = CLOSE_MS / 1000;
    const patience = setTimeout(
      () => this.news.told(`waiting for Weights & Biases, at most ${seconds} s; Ctrl-C twice leaves at once`),
      PATIENCE_MS,
    );
    const limit = setTimeout(() => {
      this.news.failed(
        `Weights & Biases had not taken everything after ${seconds} s; what is missing there is kept in ${join(this.directory, 'wandb')}, and \`wandb sync\` with the newest folder in it sends it`,
      );
      this.open = false;
      endGroup(this.child);
    }, CLOSE_MS);
    await this.ended;
    clearTimeout(patience);
    clearTimeout(limit);
  }

  private send(message: object): void {
    if (this.open) this.child.stdin?.write(`${JSON.stringify(message)}\n`);
  }

  private hear(line: string): void {
    const { url, offline, reason, failed } = newsOf(line);
    this.problem ??= failed;
    if (url !== undefined) this.news.told(`Weights & Biases: ${url}`);
    if (offline !== undefined)
      this.news.failed(
        `Weights & Biases cannot be reached (${reason}), so its run is kept here; \`wandb sync ${offline}\` sends it`,
      );
  }
}

interface ChildNews {
  readonly url?: string;
  readonly offline?: string;
  readonly reason?: string;
  readonly failed?: string;
}

/** Whatever else a Python prints as it starts is no news. */
function newsOf(line: string): ChildNews {
  try {
    return (JSON.parse(line) ?? {}) as ChildNews;
  } catch {
    return {};
  }
}

/** A group of its own: Ctrl-C is for the run, which ends the child when it has told everything. */
function startChild(python: string): ChildProcess {
  return spawn(python, ['-u', '-c', PROGRAM], {
    stdio: ['pipe', 'pipe', 'pipe'],
    detached: true,
    env: { WANDB_INIT_TIMEOUT: '20', WANDB_CONSOLE: 'off', ...process.env },
  });
}

function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid);
  } catch {
    // It has ended in this very moment.
  }
}

/** The Python that has the package: RECKON_PYTHON, else python3. */
export function pythonCommand(): string {
  return process.env['RECKON_PYTHON'] ?? 'python3';
}

function initOf({ directory, name, config }: TrackedRun, options: WandbOptions): object {
  const id = sha256(directory).slice(0, 16);
  const { project, entity = null, mode } = options;
  return { project, entity, mode, id, name: options.name ?? name, dir: directory, config };
}

function problemOf(code: number | null, python: string, problem: string): string | null {
  if (code === 0) return null;
  if (code === NO_PACKAGE) return noPackage(python);
  return `Weights & Biases stopped (${problem}); the run goes on without it`;
}

function lastLine(text: string): string {
  const lines = stripVTControlCharacters(text).split('\n');
  return lines.findLast((line) => line.trim() !== '')?.trim() ?? 'without a word';
}

function noPackage(python: string): string {
  return `${python} has no package wandb, so nothing goes to Weights & Biases and the run goes on; \`pip install wandb\`, or name another Python in RECKON_PYTHON`;
}
