/** Owns how commands print: results to stdout, errors as one sentence to stderr, exit codes. Knows no command. */

import { CommanderError } from 'commander';
import { type ErrorCategory, messageOf, ReckonError } from '../util/errors.ts';

/** The options that every command takes. */
export interface GlobalOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly debug?: boolean;
}

/** 0: it worked; 1: it failed; 2: the command line or recipe is wrong; 130: interrupted, and can be resumed. */
export type ExitCode = 0 | 1 | 2 | 130;

/** A result: the object under --json, else the text, which --quiet leaves out. */
export function printResult(options: GlobalOptions, value: object, text: string): void {
  if (options.json === true) process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
  else if (options.quiet !== true && text !== '') process.stdout.write(`${text}\n`);
}

/** Prints `error: <one sentence>`, under --json an object on stdout too, under --debug the stack; returns the exit code. */
export function printError(thrown: unknown, options: GlobalOptions): ExitCode {
  if (thrown instanceof CommanderError && thrown.exitCode === 0) return 0;
  const { category, code, message } = describe(thrown);
  if (options.json === true) {
    process.stdout.write(`${JSON.stringify({ error: { category, code, message } }, null, 2)}\n`);
  }
  process.stderr.write(`error: ${message}\n`);
  if (options.debug === true && thrown instanceof Error) process.stderr.write(`${stackOf(thrown)}\n`);
  return category === 'usage' || category === 'recipe' ? 2 : 1;
}

interface Described {
  readonly category: ErrorCategory;
  readonly code: string;
  readonly message: string;
}

function describe(thrown: unknown): Described {
  if (thrown instanceof ReckonError) return thrown;
  if (thrown instanceof CommanderError) {
    const bare = thrown.code === 'commander.help';
    const message = bare ? 'a command is missing' : oneLine(thrown.message).replace(/^error: /, '');
    return {
      category: 'usage',
      code: thrown.code.replace('commander.', ''),
      message: `${message}; see --help`,
    };
  }
  const message = `${oneLine(messageOf(thrown))} (this was not expected; --debug shows where it comes from)`;
  return { category: 'internal', code: 'unexpected', message };
}

function oneLine(text: string): string {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .join(' ');
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by: ${stackOf(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}
