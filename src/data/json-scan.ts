/** Owns where JSON goes wrong and where the parts of a list stand, as positions in its text. Builds no values. */

/** The part of a text from `start` up to `end`. */
export interface Span {
  readonly start: number;
  readonly end: number;
}

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORDS: readonly string[] = ['true', 'false', 'null'];

/**
 * The position of the first character that keeps a text from being one JSON value (its length where the text ends too
 * early), or null where nothing does. Linear, and no deeper than its own list, so that no input overflows the stack.
 */
export function jsonErrorAt(text: string): number | null {
  const open: ('{' | '[')[] = [];
  let position = skipSpace(text, 0);
  for (;;) {
    // A value begins here.
    const character = text[position];
    if (character === '{' || character === '[') {
      const inside = skipSpace(text, position + 1);
      const closed = text[inside] === (character === '{' ? '}' : ']');
      if (!closed) {
        open.push(character);
        const key = character === '{' ? keyEnd(text, inside) : { end: inside };
        if ('error' in key) return key.error;
        position = key.end;
        continue;
      }
      position = inside + 1;
    } else {
      const scalar = scalarEnd(text, position);
      if ('error' in scalar) return scalar.error;
      position = scalar.end;
    }
    // A value ended here.
    for (;;) {
      position = skipSpace(text, position);
      const inner = open.at(-1);
      if (inner === undefined) return position === text.length ? null : position;
      if (text[position] !== (inner === '{' ? '}' : ']')) break;
      open.pop();
      position++;
    }
    if (text[position] !== ',') return position;
    position = skipSpace(text, position + 1);
    if (open.at(-1) === '{') {
      const key = keyEnd(text, position);
      if ('error' in key) return key.error;
      position = key.end;
    }
  }
}

/** The spans of a list's items by brackets and commas alone: `start` is behind the list's `[`. */
export function itemSpans(text: string, start: number): Span[] {
  const spans: Span[] = [];
  let depth = 0;
  let from = skipSpace(text, start);
  let position = from;
  const push = (end: number): void => {
    if (text.slice(from, end).trim() !== '') spans.push({ start: from, end });
  };
  for (; position < text.length; position++) {
    const character = text[position];
    if (character === '"') position = stringSkip(text, position);
    else if (character === '{' || character === '[') depth++;
    else if (character === '}' || character === ']') {
      if (depth === 0) break;
      depth--;
    } else if (character === ',' && depth === 0) {
      push(position);
      from = skipSpace(text, position + 1);
      position = from - 1;
    }
  }
  push(Math.min(position, text.length));
  return spans;
}

/** The first place at or behind `position` that is no JSON white space. */
export function skipSpace(text: string, position: number): number {
  let at = position;
  while (at < text.length && ' \n\r\t'.includes(text[at]!)) at++;
  return at;
}

type Scanned = { readonly end: number } | { readonly error: number };

/** Behind `"key":` and the space that follows. */
function keyEnd(text: string, position: number): Scanned {
  if (text[position] !== '"') return { error: position };
  const key = stringEnd(text, position);
  if ('error' in key) return key;
  const colon = skipSpace(text, key.end);
  return text[colon] === ':' ? { end: skipSpace(text, colon + 1) } : { error: colon };
}

function scalarEnd(text: string, position: number): Scanned {
  if (text[position] === '"') return stringEnd(text, position);
  const word = WORDS.find((one) => text.startsWith(one, position));
  if (word !== undefined) return { end: position + word.length };
  NUMBER.lastIndex = position;
  return NUMBER.test(text) ? { end: NUMBER.lastIndex } : { error: position };
}

function stringEnd(text: string, start: number): Scanned {
  for (let i = start + 1; i < text.length; i++) {
    const character = text[i]!;
    if (character === '"') return { end: i + 1 };
    if (character < ' ') return { error: i };
    if (character !== '\\') continue;
    const escaped = text[i + 1] ?? '';
    if (escaped === 'u') {
      if (!/^[0-9a-fA-F]{4}$/.test(text.slice(i + 2, i + 6))) return { error: i };
      i += 5;
    } else if (escaped !== '' && '"\\/bfnrt'.includes(escaped)) {
      i++;
    } else {
      return { error: i };
    }
  }
  return { error: text.length };
}

/** The closing quote of a string, or where the line ends, so that one open quote does not swallow the rest. */
function stringSkip(text: string, start: number): number {
  for (let i = start + 1; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === '"' || text[i] === '\n') return i;
  }
  return text.length;
}
