/** Starts the command that set-up was done for and is as good as it: same terminal, signals, exit code; it knows no command. */
import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { join } from 'node:path';

const PASSED_ON = ['SIGINT', 'SIGTERM', 'SIGHUP'];

/**
 * Runs `reckon <words>` and resolves to its exit code (128 + the signal's number where one ended it). Signals that
 * come here are passed on, and RECKON_STARTED_AT tells the command to count set-up's time as its own.
 */
export function runCommand(root, words, env) {
  return new Promise((done, failed) => {
    const started = String(Math.floor(performance.timeOrigin));
    const child = spawn(process.execPath, [join(root, 'dist', 'cli', 'main.js'), ...words], {
      stdio: 'inherit',
      env: { ...env, RECKON_STARTED_AT: started },
    });
    const passOn = (signal) => child.kill(signal);
    for (const signal of PASSED_ON) process.on(signal, passOn);
    child.on('error', failed);
    child.on('exit', (code, signal) => done(code ?? 128 + constants.signals[signal]));
  });
}
