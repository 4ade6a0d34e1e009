/** Owns finding the last `\boxed{}` of a solution, as data sets write their answers. Judges nothing. */

import { braceEnds } from '../text/braces.ts';

/** What the last `\boxed{...}`, `\fbox{...}` or `\boxed 5` of a text holds, trimmed; null without one. Linear. */
export function lastBoxed(text: string): string | null {
  const marks = [...text.matchAll(/\\(?:boxed|fbox)/g)];
  const ends = marks.length === 0 ? new Map<number, number>() : braceEnds(text);
  for (const { index, 0: mark } of marks.reverse()) {
    const content = contentAt(text, index + mark.length, ends);
    // An empty or open box at the end must not hide one before it.
    if (content !== null && content !== '') return content;
  }
  return null;
}

function contentAt(text: string, behindName: number, ends: ReadonlyMap<number, number>): string | null {
  let at = behindName;
  while (text[at] === ' ') at++;
  if (text[at] === '{') {
    const close = ends.get(at);
    return close === undefined ? null : text.slice(at + 1, close).trim();
  }
  if (at === behindName) return null;
  const rest = text.slice(at, at + 200);
  const stop = rest.search(/[$\n]/);
  return (stop < 0 ? rest : rest.slice(0, stop)).trim();
}
