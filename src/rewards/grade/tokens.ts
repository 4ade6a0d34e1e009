/** Owns the cutting of an answer into tokens of LaTeX and plain mathematics. Knows no grammar. */

import { type Rational, rational, TooLarge } from '../../util/rational.ts';
import { COMMANDS } from './names.ts';

/** What a token is; `op` holds everything of one or two characters that is not a bracket. */
export type TokenKind =
  | 'number'
  | 'command'
  | 'letter'
  | 'word'
  | 'text'
  | 'op'
  | 'open'
  | 'close'
  | 'begin'
  | 'end';

export interface Token {
  readonly kind: TokenKind;
  readonly text: string;
  /** White space came before it. */
  readonly spaced: boolean;
  /** A new line came before it. */
  readonly line?: boolean;
  readonly value?: Rational;
  readonly decimals?: number;
  /** The number was written with plain commas between thousands. */
  readonly grouped?: boolean;
}

/** Thrown for a text that is no mathematics of ours, or too much of it. */
export class Unreadable extends Error {
  override readonly name = 'Unreadable';
}

const MAX_TOKENS = 4000;
const MAX_DIGITS = 4000;

/** Commands that carry text or a style around one argument. */
const TEXT_COMMANDS = new Set([
  'text',
  'textbf',
  'textit',
  'textrm',
  'textsf',
  'texttt',
  'textnormal',
  'mbox',
  'hbox',
  'mathrm',
  'mathbf',
  'mathit',
  'mathsf',
  'mathtt',
  'mathcal',
  'mathscr',
  'mathbb',
  'mathfrak',
  'boldsymbol',
  'bm',
  'operatorname',
  'rm',
  'bf',
  'variable',
]);
/** Commands that change nothing that is compared. */
const SILENT = new Set(
  'left right mleft mright big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr displaystyle textstyle scriptstyle limits nolimits quad qquad hspace hskip vspace thinspace medspace thickspace enspace negthinspace cdotp phantom rm bf it mathstrut strut nonumber allowbreak'.split(
    ' ',
  ),
);
const BRACKETS: Readonly<Record<string, string>> = {
  lparen: '(',
  rparen: ')',
  lbrack: '[',
  rbrack: ']',
  lgroup: '(',
  rgroup: ')',
  lbrace: '\\{',
  rbrace: '\\}',
  lvert: '|',
  rvert: '|',
  vert: '|',
  mid: '|',
  langle: '(',
  rangle: ')',
};

interface Cursor {
  readonly text: string;
  at: number;
  /** Round and square brackets that are open: a comma inside them separates. */
  depth: number;
  readonly grouping: boolean;
}

/** The tokens of a cleaned answer. With `grouping` off, a comma between digits always separates. Throws Unreadable. */
export function tokenize(text: string, grouping = true): Token[] {
  const cursor: Cursor = { text, at: 0, depth: 0, grouping };
  const tokens: Token[] = [];
  for (;;) {
    const start = cursor.at;
    skipSpace(cursor);
    const spaced = cursor.at > start;
    if (cursor.at >= text.length) return tokens;
    const token = next(cursor, spaced);
    if (token === null) continue;
    const line = spaced && text.slice(start, cursor.at).includes('\n');
    if (token.kind === 'open') cursor.depth++;
    if (token.kind === 'close') cursor.depth--;
    tokens.push(line ? { ...token, line } : token);
    if (tokens.length > MAX_TOKENS) throw new Unreadable('too-long');
  }
}

function skipSpace(cursor: Cursor): void {
  for (;;) {
    const { text, at } = cursor;
    const character = text[at];
    if (
      character === ' ' ||
      character === '\n' ||
      character === '\t' ||
      character === '\r' ||
      character === '~'
    )
      cursor.at++;
    else if (character === '$') cursor.at++;
    else if (character === '\\' && /[!,;:>() [\]\n]/.test(text[at + 1] ?? ' ')) cursor.at += 2;
    else if (character === '\\' && text[at + 1] === '$') cursor.at += 2;
    else return;
  }
}

function next(cursor: Cursor, spaced: boolean): Token | null {
  const { text, at } = cursor;
  const character = text[at]!;
  if (isDigit(character) || (character === '.' && isDigit(text[at + 1]))) return numberToken(cursor, spaced);
  if (character === '\\') return commandToken(cursor, spaced);
  if (text.startsWith('...', at)) {
    cursor.at += 3;
    return { kind: 'command', text: 'ldots', spaced };
  }
  if (isLetter(character)) return wordToken(cursor, spaced);
  if ('([{'.includes(character)) return bracket(cursor, 'open', character, spaced);
  if (')]}'.includes(character)) return bracket(cursor, 'close', character, spaced);
  for (const two of ['<=', '>=', '!=', '==', '**', '->', '||']) {
    if (text.startsWith(two, at)) {
      cursor.at += 2;
      return { kind: 'op', text: two, spaced };
    }
  }
  cursor.at++;
  if ('€£¥₹'.includes(character)) return null;
  if (character > '~') return foreignToken(cursor, at, spaced);
  return { kind: 'op', text: character, spaced };
}

/** Braces of LaTeX groups do not count as brackets around a list. */
function bracket(cursor: Cursor, kind: 'open' | 'close', text: string, spaced: boolean): Token {
  cursor.at++;
  if (text === '{') {
    cursor.depth--;
    return { kind, text, spaced };
  }
  if (text === '}') cursor.depth++;
  return { kind, text, spaced };
}

function foreignToken(cursor: Cursor, start: number, spaced: boolean): Token {
  while (cursor.at < cursor.text.length && cursor.text[cursor.at]! > '~') cursor.at++;
  return { kind: 'text', text: cursor.text.slice(start, cursor.at), spaced };
}

function wordToken(cursor: Cursor, spaced: boolean): Token {
  const start = cursor.at;
  while (isLetter(cursor.text[cursor.at])) cursor.at++;
  const text = cursor.text.slice(start, cursor.at);
  return { kind: text.length === 1 ? 'letter' : 'word', text, spaced };
}

function commandToken(cursor: Cursor, spaced: boolean): Token | null {
  const { text } = cursor;
  const start = ++cursor.at;
  while (isLetter(text[cursor.at])) cursor.at++;
  if (cursor.at === start) return escapedSign(cursor, spaced);
  const name = knownPrefix(text.slice(start, cursor.at));
  cursor.at = start + name.length;
  if (text[cursor.at] === '*') cursor.at++;
  if (name === 'begin' || name === 'end') {
    const environment = argument(cursor);
    // The column layout of an array says nothing about its value.
    if (name === 'begin' && environment === 'array') argument(cursor);
    return { kind: name, text: environment, spaced };
  }
  if (SILENT.has(name) && !(name === 'rm' && text[cursor.at] === '{')) return silent(cursor, name);
  if (TEXT_COMMANDS.has(name))
    return { kind: name === 'operatorname' ? 'word' : 'text', text: argument(cursor), spaced };
  const as = BRACKETS[name];
  if (as === '|') return { kind: 'op', text: '|', spaced };
  if (as !== undefined) return { kind: '([{\\{'.includes(as) ? 'open' : 'close', text: as, spaced };
  return { kind: 'command', text: name, spaced };
}

/** A command run together with the letters behind it (`\\quadx`) is the longest known command that it begins with. */
function knownPrefix(name: string): string {
  if (isKnown(name)) return name;
  for (let length = name.length - 1; length > 1; length--) {
    const prefix = name.slice(0, length);
    if (isKnown(prefix)) return prefix;
  }
  return name;
}

function isKnown(name: string): boolean {
  return SILENT.has(name) || TEXT_COMMANDS.has(name) || name in BRACKETS || COMMANDS.has(name);
}

/** `\left.` and `\hspace{..}` take what follows with them. */
function silent(cursor: Cursor, name: string): null {
  if (/^m?(?:left|right)$/.test(name) && cursor.text[cursor.at] === '.') cursor.at++;
  if (/space$|skip$|phantom/.test(name) && cursor.text[cursor.at] === '{') argument(cursor);
  return null;
}

function escapedSign(cursor: Cursor, spaced: boolean): Token | null {
  const sign = cursor.text[cursor.at++];
  if (sign === '{' || sign === '}')
    return { kind: sign === '{' ? 'open' : 'close', text: `\\${sign}`, spaced };
  if (sign === '\\') {
    // A command escaped twice: a new row never begins with a command's name that has lost its backslash.
    const name = /^[a-zA-Z]{2,}/.exec(cursor.text.slice(cursor.at, cursor.at + 30))?.[0];
    if (name !== undefined && isKnown(name)) {
      cursor.at--;
      return commandToken(cursor, spaced);
    }
    return { kind: 'op', text: '\\\\', spaced };
  }
  if (sign === '%' || sign === '|' || sign === '#' || sign === '&' || sign === '_')
    return { kind: 'op', text: sign, spaced };
  return null;
}

/** The text of a command's argument: a balanced group, or one character. */
function argument(cursor: Cursor): string {
  const { text } = cursor;
  while (text[cursor.at] === ' ') cursor.at++;
  if (text[cursor.at] !== '{') return text[cursor.at++] ?? '';
  const start = ++cursor.at;
  let depth = 1;
  for (; cursor.at < text.length; cursor.at++) {
    const character = text[cursor.at];
    if (character === '\\') cursor.at++;
    else if (character === '{') depth++;
    else if (character === '}' && --depth === 0) break;
  }
  if (depth > 0) throw new Unreadable('unclosed');
  return text.slice(start, cursor.at++).trim();
}

function numberToken(cursor: Cursor, spaced: boolean): Token {
  const { text } = cursor;
  const start = cursor.at;
  let digits = digitsAt(text, cursor.at);
  cursor.at += digits.length;
  let grouped = false;
  // No number of thousands begins with 0: in 0,125 the comma is another thing.
  if (/^[1-9]\d{0,2}$/.test(digits)) {
    for (;;) {
      const plain = cursor.grouping && cursor.depth <= 0;
      const length = groupSeparator(text, cursor.at, plain, start);
      if (length === 0) break;
      if (text[cursor.at] === ',' && length === 1) grouped = true;
      digits += text.slice(cursor.at + length, cursor.at + length + 3);
      cursor.at += length + 3;
    }
  }
  let decimals = 0;
  if (text[cursor.at] === '.' && (isDigit(text[cursor.at + 1]) || endsNumber(text[cursor.at + 1]))) {
    const after = digitsAt(text, cursor.at + 1);
    cursor.at += 1 + after.length;
    digits += after;
    decimals = after.length;
  }
  const period = decimals > 0 || text[cursor.at - 1] === '.' ? periodAt(cursor) : '';
  if (period !== '') return repeating(digits, decimals, period, spaced);
  const exponent = exponentAt(cursor);
  if (cursor.at === start || digits.length > MAX_DIGITS) throw new Unreadable('number');
  const value = scaled(BigInt(digits), exponent - decimals);
  const shown = Math.max(0, decimals - exponent);
  return {
    kind: 'number',
    text: text.slice(start, cursor.at),
    spaced,
    value,
    ...(decimals > 0 ? { decimals: shown } : {}),
    ...(grouped ? { grouped } : {}),
  };
}

/** The length of what separates thousands here, or 0: exactly three digits must follow. */
function groupSeparator(text: string, at: number, plain: boolean, start: number): number {
  const separators = [
    ',\\! ',
    ',\\!',
    '{,}',
    '{, }',
    ' {,}',
    ' {, }',
    '\\,',
    '{\\,}',
    '\\;',
    "'",
    ...(plain ? [','] : []),
    // Spaces between thousands are told from a list of numbers only where one number is all there is.
    ...(plain && /(?:^|=)[-+$\\\s]*$/.test(text.slice(0, start)) ? [' '] : []),
  ];
  for (const separator of separators) {
    if (!text.startsWith(separator, at)) continue;
    const after = at + separator.length;
    if (digitsAt(text, after).length !== 3) continue;
    if (separator !== ' ' || !/^\s*[/\\]/.test(text.slice(after + 3, after + 8))) return separator.length;
  }
  return 0;
}

/** The digits under a line or dots that end a decimal and repeat without end; the cursor passes them. */
function periodAt(cursor: Cursor): string {
  const rest = cursor.text.slice(cursor.at, cursor.at + 60);
  const match = /^\s*(?:\\(?:overline|bar|dot)\s*\{(\d+)\}|\\(?:bar|dot)\s*(\d))/.exec(rest);
  if (match === null) return '';
  cursor.at += match[0].length;
  const last = /^\d*\\dot\s*\{?(\d)\}?/.exec(cursor.text.slice(cursor.at, cursor.at + 60));
  if (!match[0].includes('dot') || last === null) return (match[1] ?? match[2])!;
  // Two dots mark the first and the last digit that repeat.
  cursor.at += last[0].length;
  return (match[1] ?? match[2])! + last[0].replace(/\D/g, '');
}

function repeating(digits: string, decimals: number, period: string, spaced: boolean): Token {
  const whole = BigInt(digits + period) - BigInt(digits);
  const value = rational(whole, (10n ** BigInt(period.length) - 1n) * 10n ** BigInt(decimals));
  return { kind: 'number', text: `${digits}(${period})`, spaced, value };
}

function exponentAt(cursor: Cursor): number {
  const { text, at } = cursor;
  if (text[at] !== 'e' && text[at] !== 'E') return 0;
  const sign = text[at + 1] === '+' || text[at + 1] === '-' ? 1 : 0;
  const digits = digitsAt(text, at + 1 + sign);
  if (digits.length === 0 || digits.length > 5 || isLetter(text[at + 1 + sign + digits.length])) return 0;
  cursor.at = at + 1 + sign + digits.length;
  return Number(text.slice(at + 1, cursor.at));
}

function scaled(digits: bigint, tens: number): Rational {
  if (Math.abs(tens) > MAX_DIGITS) throw new TooLarge();
  return tens >= 0 ? rational(digits * 10n ** BigInt(tens)) : rational(digits, 10n ** BigInt(-tens));
}

function digitsAt(text: string, at: number): string {
  let end = at;
  while (isDigit(text[end])) end++;
  return text.slice(at, end);
}

function endsNumber(character: string | undefined): boolean {
  return character === undefined || ' \n,;)]}$\\'.includes(character);
}

export function isDigit(character: string | undefined): boolean {
  return character !== undefined && character >= '0' && character <= '9';
}

function isLetter(character: string | undefined): boolean {
  if (character === undefined) return false;
  return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z');
}
