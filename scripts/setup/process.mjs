/** Other programs: run one, keep what it printed, stop it when set-up is stopped; it judges no result. */
import { spawn } from 'node:child_process';

const running = new Set();

/**
 * Runs a program without a shell. Resolves to { code, output, missing }: `output` is stdout and stderr together,
 * `stdout` is the first alone, `missing` says that the program does not exist. `show` lets it draw on our terminal.
 */
export function run(command, args, { cwd, env = process.env, show = false, input } = {}) {
  return new Promise((done) => {
    const child = spawn(command, args, { cwd, env, stdio: ['pipe', show ? process.stderr : 'pipe', 'pipe'] });
    running.add(child);
    let stdout = '';
    let output = '';
    child.stdout?.setEncoding('utf8').on('data', (text) => {
      stdout += text;
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text) => {
      output += text;
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input ?? '');
    child.on('error', (error) => {
      running.delete(child);
      done({ code: 127, stdout: '', output: error.message, missing: error.code === 'ENOENT' });
    });
    child.on('close', (code, signal) => {
      running.delete(child);
      done({
        code: code ?? 1,
        stdout,
        output: signal ? `${output}\nstopped by ${signal}` : output,
        missing: false,
      });
    });
  });
}

/** Stops every program that is still running. */
export function stopPrograms() {
  for (const child of running) child.kill('SIGTERM');
}
