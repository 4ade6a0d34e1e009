/** Owns the processes on both sides of a comparison: starts them, asks for steps by lines, says why one cannot be had. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Answer, Question } from './protocol.ts';
import type { Work } from './works.ts';

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const shownLines = 20;

/** A process that was asked one question and makes steps. */
export class Side implements AsyncDisposable {
  /** What it said of itself when it was ready. */
  runtime: Readonly<Record<string, unknown>> = {};
  private readonly name: string;
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;
  private readonly exit: Promise<void>;
  private readonly errors: string[] = [];

  private constructor(name: string, command: string, words: readonly string[]) {
    this.name = name;
    this.child = spawn(command, words, { stdio: ['pipe', 'pipe', 'pipe'] });
    this.exit = new Promise((resolve) => this.child.once('close', () => resolve()));
    this.child.once('error', (error) => this.errors.push(error.message));
    this.child.stdin!.on('error', () => undefined); // it has ended, which reading notices
    createInterface({ input: this.child.stderr! }).on('line', (line) => {
      this.errors.push(line);
      if (this.errors.length > shownLines) this.errors.shift();
    });
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  /** Our side, ready for its first step. */
  static async ours(question: Question): Promise<Side> {
    return await Side.ready('reckon', process.execPath, ['--import', 'tsx', here('ours.ts')], question);
  }

  /** The Python side, ready for its first step. */
  static async theirs(python: string, question: Question): Promise<Side> {
    return await Side.ready(python, python, [here('peer.py')], question);
  }

  private static async ready(
    name: string,
    command: string,
    words: readonly string[],
    question: Question,
  ): Promise<Side> {
    const side = new Side(name, command, words);
    side.send(JSON.stringify(question));
    side.runtime = ((await side.answer()) as { runtime?: Record<string, unknown> }).runtime ?? {};
    return side;
  }

  async step(): Promise<Answer> {
    this.send('');
    return (await this.answer()) as Answer;
  }

  private send(line: string): void {
    this.child.stdin!.write(`${line}\n`);
  }

  private async answer(): Promise<unknown> {
    const { value, done } = await this.lines.next();
    if (!done) return JSON.parse(value);
    await this.exit;
    throw new Error(`${this.name} ended before it answered:\n${this.errors.join('\n')}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.stdin!.end();
    await this.exit;
  }
}

const libraries: Readonly<Record<Work['kind'], readonly string[]>> = {
  generate: ['torch', 'transformers'],
  sft: ['torch', 'transformers', 'peft'],
  grpo: ['torch', 'transformers', 'peft', 'datasets', 'trl'],
  limits: [],
};

const listing =
  'import importlib.metadata as m, json; print(json.dumps({d.metadata["Name"].lower(): d.version for d in m.distributions()}))';

/** A Python and the versions of what it has. */
export class Python {
  readonly command: string;
  readonly versions: Readonly<Record<string, string>>;
  private readonly broken: string | null;

  /** RECKON_BENCH_PYTHON, else python3. */
  constructor(command: string = process.env['RECKON_BENCH_PYTHON'] || 'python3') {
    const found = spawnSync(command, ['-c', listing], { encoding: 'utf8' });
    this.command = command;
    this.broken = found.status === 0 ? null : `${command} cannot be run`;
    const all = (this.broken ? {} : JSON.parse(found.stdout)) as Record<string, string>;
    this.versions = Object.fromEntries(
      libraries.grpo.flatMap((name) => (all[name] === undefined ? [] : [[name, all[name]]])),
    );
  }

  /** Why a work cannot be done by this Python; null where it can. */
  missingFor(kind: Work['kind']): string | null {
    if (this.broken) return this.broken;
    const missing = libraries[kind].filter((name) => !(name in this.versions));
    return missing.length === 0 ? null : `${this.command} has no ${missing.join(', ')}`;
  }
}
