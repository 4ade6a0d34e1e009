/** Owns the repair of a 24-game trace at its first wrong line. Judges no answer but by the process. */

import { apply } from '../data/game24-solver.ts';
import { legalLine, nextLine } from '../data/game24-traces.ts';
import type { Rng } from '../util/rng.ts';
import { type CheckedLine, checkedLines } from './game24-process.ts';
import type { Attempt, Repair } from './task.ts';

/**
 * The first wrong line of a trace and a right one in its place: a step towards 24 where there is one, else giving up
 * where that is right, else any legal step; the answer where 24 is made. Null where no line is wrong, or none is right.
 */
export function repairTrace(
  numbers: readonly number[],
  { completion, finished }: Pick<Attempt, 'completion' | 'finished'>,
  rng: Rng,
): Repair | null {
  const checked = checkedLines(numbers, completion, finished);
  const place = checked.findIndex((line) => !line.right);
  if (place < 0) return null;
  const right = rightLine(checked[place]!, rng);
  if (right === null) return null;
  const lines = completion.split('\n');
  const ended = place < lines.length - 1;
  return {
    before: lines
      .slice(0, place)
      .map((line) => `${line}\n`)
      .join(''),
    wrong: ended ? `${lines[place]!}\n` : lines[place]!,
    right: right.startsWith('#') ? right : `${right}\n`,
  };
}

function rightLine({ state, made, hopeless }: CheckedLine, rng: Rng): string | null {
  const steps = made.flatMap((step) => {
    const value = apply(step.left, step.operator, step.right);
    return value === null ? [] : [{ ...step, value }];
  });
  return nextLine(state, steps, rng) ?? (hopeless() ? 'x' : legalLine(state, rng));
}
