/** Owns the last number of running text: the expression that it is part of, and whether the text means it. Judges none. */

/** A number in a text, and where it stands. */
export interface NumberFound {
  readonly answer: string;
  readonly start: number;
  readonly end: number;
}

const NUMBER =
  /[-−]?(?:\d{1,3}(?:(?:,|[\u00a0\u2009\u202f]|\s?\{, ?\}|,\\! ?|\\,)\d{3})+(?!\d)|\d+(?:,\d{1,2}(?![\d,]))?)(?:\.\d+)?(?:[eE][-+]?\d{1,4}(?![a-zA-Z\d]))?(?:\s*\/\s*\d+(?:\.\d+)?|(?<=(?<!\d)\d{1,3}) \d+\/\d+)?(?:\s*\\?%)?|[-−]?\.\d+/g;
const TAIL = 20_000;
const MAX_AROUND = 200;

/** The last number that is no part of a name; a hyphen after a letter or digit is no sign. */
export function lastNumber(text: string): NumberFound | null {
  const tail = text.slice(-TAIL);
  let last: RegExpExecArray | null = null;
  NUMBER.lastIndex = 0;
  for (let match = NUMBER.exec(tail); match !== null; match = NUMBER.exec(tail))
    if (!/[A-Za-z_]/.test(tail[match.index - 1] ?? '') || /^[-−]/.test(match[0])) last = match;
  if (last === null) return null;
  const before = tail[last.index - 1];
  const joined = /^[-−]/.test(last[0]) && before !== undefined && /[\w)]/.test(before);
  const start = text.length - tail.length + last.index;
  return {
    answer: joined ? last[0].slice(1) : last[0],
    start: joined ? start + 1 : start,
    end: start + last[0].length,
  };
}

/** What joins a number to what stands before it, and to what stands behind it. */
const JOINS_BEFORE =
  /(?:[\^√∛{]|sqrt ?\(?|\\[a-z]+(?:_\{?\w+\}?)?\s*\(?|[\w)}π][+/*×·÷^]|\d\*\*|[\d)][-−]|[\w)}π] [-+*/×·÷] |[<>≤≥≠]=? ?|\d(?::| : ?))$/;
const JOINS_BEHIND = /^(?:\^|\*(?=[a-zπ(\\])|\\(?![)\]\s\\%,;]|text|mbox)|π|√|[a-fi-kn-rt-zA-Z](?![a-zA-Z]))/;
const PARTS = /[!-~πθ√∛°·×÷−²³≤≥≠]/;

/**
 * The expression of which the number is only a part (`3\sqrt{5}`, `10^4`, `7 + 5`, `(3, 5)`), or null where it stands
 * alone.
 */
export function expressionAround(text: string, { start, end }: NumberFound): string | null {
  const before = text.slice(Math.max(0, start - MAX_AROUND), start);
  const behind = text.slice(end, end + MAX_AROUND);
  const tuple = /^\s*[)\]]/.test(behind) ? /[([](?=[^()[\]]*\d[^()[\]]*,[^()[\]]*$)/.exec(before) : null;
  const closed = end + behind.search(/[)\]]/) + 1;
  if (tuple !== null) return before.slice(tuple.index) + text.slice(start, closed);
  if (!JOINS_BEFORE.test(before) && !JOINS_BEHIND.test(behind)) return null;
  let left = before.slice(leftEnd(before));
  let right = behind.slice(0, rightEnd(behind, left));
  left = left.replace(/^[$*`"'~.,;:]+/, '');
  right = right.replace(/[$*`"'~.,;:!?]+$/, '');
  const expression = left + text.slice(start, end) + right;
  return expression.replace(/^\((?=[^()]*$)/, '').replace(/(?<=^[^()]*)\)$/, '');
}

/** Where the run of mathematics that ends `text` begins: spaces only beside signs, behind commands and in braces. */
function leftEnd(text: string): number {
  let at = text.length;
  let depth = 0;
  for (; at > 0; at--) {
    const character = text[at - 1]!;
    if (character === '}') depth++;
    if (character === '{') depth--;
    if (PARTS.test(character) || depth > 0) continue;
    const [word] = /\S*$/.exec(text.slice(0, at).trimEnd())!;
    const open = /[-+*/^×·÷<>≤≥≠:]$|^\\[a-z]+(?:_\{?\w+\}?)?$/.test(word);
    if (character !== ' ' || !(open || /^[-+*/×·÷<>≤≥≠:] /.test(text.slice(at)))) break;
  }
  return at;
}

/** Where the run that follows ends; braces that `left` opened are closed. */
function rightEnd(text: string, left: string): number {
  let depth = left.split('{').length - left.split('}').length;
  let at = 0;
  for (; at < text.length; at++) {
    if (text[at] === '{') depth++;
    if (text[at] === '}' && --depth < 0) break;
    if (!PARTS.test(text[at]!) && depth <= 0) break;
  }
  return at;
}

const DOUBT =
  /(?:(?:\b(?:not|never|either|maybe|perhaps|possibly|than|at least|at most|up to|between [^.]{1,40} and)|n't)\s*[}\s]*|(?:≠|\\neq?|[<>≤≥])\s*)[($]*$/i;
const ANOTHER = /\d[\s)$%.]*(?:[\s,;|/\\]|\b(?:or|and|maybe|perhaps|possibly|either)\b)*$/i;

/** Whether an announced answer means its last number: neither denied nor one of several. */
export function isMeant(text: string, { start }: NumberFound): boolean {
  const before = text.slice(Math.max(0, start - MAX_AROUND), start);
  return !DOUBT.test(before) && !ANOTHER.test(before);
}

/** Whether the number stands in a box that never closes. */
export function isCutOff(text: string, { start }: NumberFound): boolean {
  const open = text.lastIndexOf('\\boxed{', start);
  if (open < 0) return false;
  let depth = 0;
  for (let at = open + 6; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === '{') depth++;
    else if (text[at] === '}' && --depth === 0) return false;
  }
  return true;
}
