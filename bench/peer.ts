/** Owns the Python process on the other side of a comparison: finds one that has the libraries, and asks it by lines. */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { Work } from './generation.ts';

/** transformers' `generate` in a process of its own, which keeps its model between calls of the same work. */
export class Peer implements AsyncDisposable {
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;

  private constructor(python: string) {
    const script = fileURLToPath(new URL('peer.py', import.meta.url));
    this.child = spawn(python, [script], { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
  }

  /** RECKON_BENCH_PYTHON, else python3; null where it lacks torch or transformers. */
  static async find(): Promise<Peer | null> {
    const python = process.env['RECKON_BENCH_PYTHON'] ?? 'python3';
    const found = spawnSync(python, [
      '-c',
      'import importlib.util as u; assert u.find_spec("torch") and u.find_spec("transformers")',
    ]);
    if (found.status === 0) return new Peer(python);
    process.stdout.write(
      `no comparison: ${python} has no torch and transformers (RECKON_BENCH_PYTHON names another)\n`,
    );
    return null;
  }

  /** Seconds of one call of `generate` to the longest length, as a batch without continuous batching has to. */
  async generate(work: Work, dtype: string, threads: number): Promise<number> {
    const { config, prompt, lengths } = work;
    const ask = { config, prompt, batch: lengths.length, tokens: Math.max(...lengths), dtype, threads };
    this.child.stdin!.write(`${JSON.stringify(ask)}\n`);
    const { value, done } = await this.lines.next();
    if (done) throw new Error('the Python process ended');
    return Number(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.stdin!.end();
    await new Promise((resolve) => this.child.once('exit', resolve));
  }
}
