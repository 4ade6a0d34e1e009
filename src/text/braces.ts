/** Owns which braces of a LaTeX text belong together. Knows no command. */

/** Where each brace that opens is closed; escaped braces do not count. Linear. */
export function braceEnds(text: string): ReadonlyMap<number, number> {
  const ends = new Map<number, number>();
  const open: number[] = [];
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (character === '\\') i++;
    else if (character === '{') open.push(i);
    else if (character === '}' && open.length > 0) ends.set(open.pop()!, i);
  }
  return ends;
}
