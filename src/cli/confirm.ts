/** Owns asking a yes-or-no question on the terminal. Knows no command. */

import { createInterface } from 'node:readline/promises';
import { ReckonError } from '../util/errors.ts';

/** Asks on the terminal; where there is none, what was asked needs --yes, and that is the error. */
export async function confirmed(question: string): Promise<boolean> {
  if (!process.stdin.isTTY) {
    throw new ReckonError('usage', 'not-confirmed', `${question} There is no terminal to ask on; add --yes`);
  }
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await asking.question(`${question} [y/N] `)).trim());
  } finally {
    asking.close();
  }
}
