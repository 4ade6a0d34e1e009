/** Owns how commands print: results to stdout, errors as one sentence to stderr, exit codes. Knows no command. */

import { CommanderError } from 'commander';
import { type ErrorCategory, messageOf, ReckonError } from '../util/errors.ts';
import { errorCode } from '../util/files.ts';

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
    const message = bare ? 'a command is missing' : oneLine(thrown.message).replace(/^error: |\.$/g, '');
    return {
      category: 'usage',
      code: thrown.code.replace('commander.', ''),
      message: `${message.replace(/\.$/, '')}; see --help`,
    };
  }
  const ofDisk = describeDisk(thrown);
  if (ofDisk !== null) return ofDisk;
  const message = `${oneLine(messageOf(thrown))} (this was not expected; --debug shows where it comes from)`;
  return { category: 'internal', code: 'unexpected', message };
}

/** What the system refused to write or read, as a sentence with what to do; null for any other error. */
function describeDisk(thrown: unknown): Described | null {
  const advice = DISK_ADVICE[errorCode(thrown)];
  if (advice === undefined) return null;
  const path = (thrown as NodeJS.ErrnoException).path;
  const what = `${path ?? 'a file of the run'} ${advice}`;
  return { category: 'environment', code: 'disk', message: `${what} (${errorCode(thrown)})` };
}

const FULL = 'cannot be written: the disk is full; free some space and give the same command again';
const DENIED = 'may not be written or read by this user; change its permissions, or use another --runs-dir';
const IN_THE_WAY =
  'is a file where a folder is needed, or the other way round; move it away, or use another --name';

const DISK_ADVICE: Readonly<Record<string, string>> = {
  ENOSPC: FULL,
  EDQUOT: FULL,
  EACCES: DENIED,
  EPERM: DENIED,
  EROFS: 'is on a disk that cannot be written to; use another --runs-dir',
  EIO: 'cannot be written or read: the disk reports an error; use another --runs-dir',
  ENOTDIR: IN_THE_WAY,
  EISDIR: IN_THE_WAY,
};

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
