/** Owns finding what stands between a pair of tags such as `<answer>`. Knows no format and judges nothing. */

/** Every text between `<name>` and the first `</name>` after it, in order; linear time. */
export function tagged(text: string, name: string): string[] {
  const [open, close] = [`<${name}>`, `</${name}>`];
  const found: string[] = [];
  for (let at = text.indexOf(open); at >= 0; ) {
    const end = text.indexOf(close, at + open.length);
    if (end < 0) break;
    found.push(text.slice(at + open.length, end));
    at = text.indexOf(open, end + close.length);
  }
  return found;
}

/** The last of `tagged`, or null. */
export function lastTagged(text: string, name: string): string | null {
  return tagged(text, name).at(-1) ?? null;
}

/** How often a text occurs in another, without overlap. */
export function occurrences(text: string, word: string): number {
  if (word === '') return 0;
  let count = 0;
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length)) count++;
  return count;
}
