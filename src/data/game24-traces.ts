/** Owns the chain-of-thought format of the 24 game: provisional, direct solutions only. */

import { formatFraction } from '../util/fraction.ts';
import type { Rng } from '../util/rng.ts';
import { expressionOf, solutions } from './game24-solver.ts';

/** Characters of prompts and traces. */
export const alphabet: readonly string[] = [...'0123456789+-*/()=|# \n:x'];

/** The prompt of four numbers in this order. */
export function promptText(numbers: readonly number[]): string {
  return `${numbers.join(' ')}\n`;
}

/** A solution as text. */
export function writeTrace(numbers: readonly number[], rng: Rng): string {
  const steps = rng.pick(solutions(numbers));
  const lines = steps.map(
    (s) =>
      `${formatFraction(s.left)}${s.operator}${formatFraction(s.right)}=${s.remaining.map(formatFraction).join(' ')}`,
  );
  return `${lines.join('\n')}\n#${expressionOf(numbers, steps).replaceAll(' ', '')}`;
}

/** The answer of a trace. */
export function parseTrace(text: string): { ok: boolean; answer: string | null } {
  const at = text.lastIndexOf('#');
  return at < 0 ? { ok: false, answer: null } : { ok: true, answer: text.slice(at + 1) };
}
