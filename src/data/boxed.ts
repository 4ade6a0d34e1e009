/** Owns finding the last `\boxed{}` of a solution, as data sets write their answers. Judges nothing. */

/** What the last `\boxed{...}`, `\fbox{...}` or `\boxed 5` of a text holds, trimmed; null without one. Linear. */
export function lastBoxed(text: string): string | null {
  let end = text.length;
  for (;;) {
    const at = Math.max(text.lastIndexOf('\\boxed', end), text.lastIndexOf('\\fbox', end));
    if (at < 0) return null;
    const content = contentAt(text, at + (text.startsWith('\\boxed', at) ? 6 : 5));
    if (content !== null && content !== '') return content;
    // An empty or open box at the end must not hide one before it.
    if (at === 0) return null;
    end = at - 1;
  }
}

function contentAt(text: string, behindName: number): string | null {
  if (text[behindName] === '{') return inBraces(text, behindName);
  if (text[behindName] !== ' ') return null;
  const rest = text.slice(behindName + 1, behindName + 200);
  const stop = rest.search(/[$\n]/);
  return (stop < 0 ? rest : rest.slice(0, stop)).trim();
}

function inBraces(text: string, open: number): string | null {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    const character = text[i];
    if (character === '\\') i++;
    else if (character === '{') depth++;
    else if (character === '}' && --depth === 0) return text.slice(open + 1, i).trim();
  }
  return null;
}
