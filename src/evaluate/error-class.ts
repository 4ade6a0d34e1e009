/** Owns why a wrong completion is wrong, as far as its text tells. Judges no answer. */

import { equationsIn } from './arithmetic.ts';
import type { EvaluationRow } from './rows.ts';

/** The classes in the order in which they are looked for: a completion is of the first that fits. */
export const ERROR_CLASSES = [
  'unverifiable',
  'repetition',
  'unfinished',
  'extraction failure',
  'arithmetic slip',
  'wrong plan',
] as const;

export type ErrorClass = (typeof ERROR_CLASSES)[number];

/** What each class means, for people. */
export const ERROR_MEANING: Readonly<Record<ErrorClass, string>> = {
  unverifiable: 'the grader could not tell',
  repetition: 'the same lines or words over and over',
  unfinished: 'cut at the length limit, or stopped',
  'extraction failure': 'ended by itself without an answer that can be read',
  'arithmetic slip': 'an equation in it is false',
  'wrong plan': 'no equation in it is false, and the answer is wrong',
};

/** What of a row the class depends on. */
export type WrongRow = Pick<EvaluationRow, 'completion' | 'verdict' | 'stopReason' | 'answer'>;

/** The class of a completion that is not correct; null for a correct one. */
export function errorClass({ completion, verdict, stopReason, answer }: WrongRow): ErrorClass | null {
  if (verdict === 'correct') return null;
  if (verdict === 'unverifiable') return 'unverifiable';
  if (repeats(completion)) return 'repetition';
  if (stopReason === 'length' || stopReason === 'aborted') return 'unfinished';
  if (answer === null) return 'extraction failure';
  return equationsIn(completion).some(({ holds }) => !holds) ? 'arithmetic slip' : 'wrong plan';
}

/** Most characters at the end of a text that are searched for a period. */
const TAIL = 600;
/** A period repeats at least so often, over at least so many characters. */
const TIMES = 4;
const CHARACTERS = 40;

/** Whether a line stands four times in a row, or the end of the text goes round in circles. */
export function repeats(text: string): boolean {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  let run = 1;
  for (let i = 1; i < lines.length; i++) {
    run = lines[i] === lines[i - 1] ? run + 1 : 1;
    if (run >= TIMES) return true;
  }
  const tail = text.trimEnd().slice(-TAIL);
  for (let period = 1; period * TIMES <= tail.length; period++) {
    const needed = Math.max(CHARACTERS, period * TIMES);
    if (needed > tail.length) continue;
    let same = period;
    while (same < needed && tail[tail.length - 1 - same] === tail[tail.length - 1 - same + period]) same++;
    if (same >= needed) return true;
  }
  return false;
}
