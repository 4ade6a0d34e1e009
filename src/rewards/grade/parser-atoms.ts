/** Owns the atoms of the grammar: literals, letters, brackets, fractions, roots, functions, matrices, units. */

import { call, type Expr, type ListExpr, power, product, symbol } from './expression.ts';
import { ACCENTS, COLLECTORS, CONSTANTS, FUNCTIONS, GREEK, JOINERS, RELATIONS, UNITS } from './names.ts';
import {
  enter,
  literal,
  MINUS_ONE_EXPR,
  type Parser,
  parseFactor,
  parseItems,
  parseRelation,
  parseSum,
  parseTerm,
  peek,
  scriptOf,
} from './parser.ts';
import { type Token, Unreadable } from './tokens.ts';

/** Commands that are never a factor. */
const NO_ATOMS = new Set([
  'cdot',
  'times',
  'ast',
  'div',
  'pm',
  'mp',
  'cup',
  'cap',
  'setminus',
  'lor',
  'land',
  'vee',
  'wedge',
  'bmod',
  'mod',
  'pmod',
  'not',
  'rfloor',
  'rceil',
  'urcorner',
  'lrcorner',
  'degree',
  'circ',
  'backslash',
  'rgroup',
  'Rightarrow',
  'implies',
  'dots',
  'choose',
]);

/** Whether the next token begins a factor that is multiplied without a sign. */
export function startsAtom(parser: Parser, factors: readonly Expr[]): boolean {
  const token = peek(parser);
  if (token === undefined) return false;
  if (token.kind === 'number') {
    // Beside another number only the fraction of a mixed one may stand.
    const fraction =
      token.spaced &&
      parser.tokens[parser.at + 1]?.text === '/' &&
      parser.tokens[parser.at + 2]?.kind === 'number';
    return factors.at(-1)?.kind !== 'number' || fraction;
  }
  if (token.kind === 'letter') return true;
  if (token.kind === 'word') return !JOINERS.has(token.text.toLowerCase()) && token.text !== 'mod';
  if (token.kind === 'text')
    return token.text !== '' && !JOINERS.has(token.text.toLowerCase()) && !/^[\s,;]*$/.test(token.text);
  if (token.kind === 'open') return true;
  if (token.kind === 'begin') return true;
  if (token.kind === 'command') return !RELATIONS.has(token.text) && !NO_ATOMS.has(token.text);
  return token.kind === 'op' && (token.text === '|' || token.text === '||') && parser.bars === 0;
}

export function parseAtom(parser: Parser): Expr {
  const token = peek(parser);
  if (token === undefined) throw new Unreadable('ended');
  parser.at++;
  enter(parser);
  const expr = atomOf(parser, token);
  parser.depth--;
  return expr;
}

function atomOf(parser: Parser, token: Token): Expr {
  switch (token.kind) {
    case 'number':
      return withUnit(parser, literal(token));
    case 'letter':
      return letter(parser, token.text);
    case 'word':
      return word(parser, token);
    case 'text':
      return textAtom(parser, token.text);
    case 'open':
      return withUnit(parser, group(parser, token.text));
    case 'begin':
      return environment(parser, token.text);
    case 'command':
      return command(parser, token.text);
    case 'op':
      if (token.text === '|' || token.text === '||') return bars(parser, token.text);
      throw new Unreadable('unexpected');
    default:
      throw new Unreadable('unexpected');
  }
}

/** A letter with its subscript; f, g and h before a bracket are functions. */
function letter(parser: Parser, name: string): Expr {
  const named = subscripted(parser, name === 'I' && peek(parser)?.text === 'pi' ? 'i' : name);
  const token = peek(parser);
  const applies = /^[fghFGHP]/.test(named) || isDefined(parser);
  if (applies && token?.kind === 'open' && token.text === '(' && !token.spaced) {
    parser.at++;
    const inside = group(parser, '(');
    return call(`f:${named}`, ...(inside.kind === 'list' ? inside.items : [inside]));
  }
  return symbol(named);
}

/** Whether a letter stands before a letter in brackets and an equals sign, first in its item: p(x) = ... */
function isDefined({ tokens, at }: Parser): boolean {
  const [before, open, inside, close, sign] = [tokens[at - 2], ...tokens.slice(at, at + 4)];
  const first = before === undefined || (before.kind === 'op' && before.text === ',');
  const named = open?.text === '(' && inside?.kind === 'letter' && close?.text === ')';
  return first && named && sign?.text === '=';
}

/** The name with `_` and what follows it; indices are names, so they are kept as written. */
export function subscripted(parser: Parser, name: string): string {
  const token = peek(parser);
  if (token?.kind !== 'op' || token.text !== '_') return name;
  parser.at++;
  const start = parser.at;
  if (peek(parser)?.text === '{') {
    skipGroup(parser);
    const inside = parser.tokens.slice(start + 1, parser.at - 1).map(({ text }) => text);
    return `${name}_${inside.join('')}`;
  }
  const next = parser.tokens[parser.at++];
  if (next === undefined) throw new Unreadable('nothing-below');
  return `${name}_${next.text}`;
}

function skipGroup(parser: Parser): void {
  let depth = 0;
  for (; parser.at < parser.tokens.length; parser.at++) {
    const { text, kind } = parser.tokens[parser.at]!;
    if (kind === 'open' && text === '{') depth++;
    if (kind === 'close' && text === '}' && --depth === 0) {
      parser.at++;
      return;
    }
  }
  throw new Unreadable('unclosed');
}

/** A run of letters without a backslash: a known name, else a product of letters, else plain text. */
function word(parser: Parser, { text }: Token): Expr {
  if (text === 'sqrt') return root(parser);
  if (FUNCTIONS.has(text) || COLLECTORS.has(text)) return functionOf(parser, text);
  if (CONSTANTS.has(text)) return symbol(CONSTANTS.get(text)!);
  if (GREEK.has(text)) return symbol(subscripted(parser, text));
  if (text === 'frac' || text === 'dfrac') return fractionAtom(parser);
  const known = /^(sqrt|sin|cos|tan|ln|log|pi)(?=[a-zA-Z]$)/.exec(text)?.[1];
  if (known === 'pi') return product([symbol('pi'), symbol(text.slice(2))]);
  const prose = text.length > 2 || /^no$/i.test(text) || (/^[a-z]{2}$/.test(text) && isProse(peek(parser)));
  if (prose && !/^(?!NO$)[A-Z]+$/.test(text) && !isProduct(parser)) return wordText(parser, text);
  // Three points or more are a name whose order tells: ABC is not ACB.
  if (/^[A-Z]{3,}$/.test(text) && !isProduct(parser)) return symbol(text);
  return firstLetter(parser, text);
}

/** Two letters before a word are a word ("no solution"), not a product. */
function isProse(next: Token | undefined): boolean {
  return (
    next?.kind === 'word' &&
    next.spaced &&
    !(FUNCTIONS.has(next.text) || COLLECTORS.has(next.text) || CONSTANTS.has(next.text)) &&
    !(GREEK.has(next.text) || JOINERS.has(next.text) || next.text === 'mod' || next.text === 'sqrt')
  );
}

/** A run of letters right behind a number, or with a power or an index, is a product of letters. */
function isProduct(parser: Parser): boolean {
  const behind = parser.tokens[parser.at - 2];
  const glued = behind?.kind === 'number' && !parser.tokens[parser.at - 1]!.spaced;
  const next = peek(parser)?.text;
  return glued || next === '^' || next === '_';
}

/** The first letter of a run, the others put back one by one: a power behind xy is y's alone. */
function firstLetter(parser: Parser, text: string): Expr {
  const rest = [...text].slice(1).map((name): Token => ({ kind: 'letter', text: name, spaced: false }));
  (parser.tokens as Token[]).splice(parser.at, 0, ...rest);
  return letter(parser, text[0]!);
}

/** Words up to the end of the item are one text. */
function wordText(parser: Parser, first: string): Expr {
  let text = first;
  for (;;) {
    const token = peek(parser);
    const joins =
      token?.kind === 'word' || token?.kind === 'letter' || (token?.kind === 'op' && token.text === '-');
    if (token === undefined || !joins || JOINERS.has(token.text)) return { kind: 'text', text };
    text += ` ${token.text}`;
    parser.at++;
  }
}

function textAtom(parser: Parser, text: string): Expr {
  const content = text
    .replace(/\\[ ,;!]/g, ' ')
    .replace(/[{}$]/g, '')
    .trim();
  if (/^\(?[A-Za-z]\)?\.?$/.test(content)) return symbol(subscripted(parser, content.replace(/[().]/g, '')));
  if (FUNCTIONS.has(content) || COLLECTORS.has(content)) return functionOf(parser, content);
  if (/^[A-Z]{2}$/.test(content)) return product([symbol(content[0]!), symbol(content[1]!)]);
  if (/^-?\d+(\.\d+)?$/.test(content)) {
    const [whole, decimals = ''] = content.split('.');
    return {
      kind: 'number',
      value: rationalOf(whole!, decimals),
      ...(decimals ? { decimals: decimals.length } : {}),
    };
  }
  return { kind: 'text', text: content };
}

function rationalOf(whole: string, decimals: string): { p: bigint; q: bigint } {
  let [p, q] = [BigInt(whole + decimals), 10n ** BigInt(decimals.length)];
  for (const prime of [2n, 5n]) while (p % prime === 0n && q % prime === 0n) [p, q] = [p / prime, q / prime];
  return { p, q };
}

/** What stands between brackets: one expression in round ones is itself, more are a list. */
function group(parser: Parser, open: string): Expr {
  const bars = parser.bars;
  parser.bars = 0;
  // {x | x > 0}: what satisfies the condition.
  const mark = parser.tokens[parser.at + 1];
  if (open === '\\{' && peek(parser)?.kind === 'letter' && mark?.kind === 'op' && /^[|:]$/.test(mark.text))
    parser.at += 2;
  let items = parseItems(parser);
  // { n \\choose k }
  if (peek(parser)?.text === 'choose' && items.length === 1) {
    parser.at++;
    items = [call('binom', items[0]!, parseSum(parser))];
  }
  parser.bars = bars;
  const token = parser.tokens[parser.at++];
  if (token?.kind !== 'close') throw new Unreadable('unclosed');
  const left = open === '\\{' ? '{' : open;
  const right = token.text === '\\}' ? '}' : token.text;
  if ((left === '{') !== (right === '}')) throw new Unreadable('mismatched');
  const matching = left + right === '()' || left + right === '[]' || left + right === '{}';
  if (items.length === 1 && matching) return items[0]!;
  if (items.length === 0 && open !== '\\{') throw new Unreadable('empty');
  return { kind: 'list', open: left as ListExpr['open'], close: right as ListExpr['close'], items };
}

function bars(parser: Parser, open: string): Expr {
  parser.bars++;
  const inside = parseSum(parser);
  parser.bars--;
  const token = parser.tokens[parser.at++];
  // |x||y|: the second pair opens where the first one closes.
  if (open === '|' && token?.text === '||')
    (parser.tokens as Token[]).splice(parser.at, 0, { ...token, text: '|', spaced: false });
  else if (token?.text !== open) throw new Unreadable('unclosed');
  return call('abs', inside);
}

function command(parser: Parser, name: string): Expr {
  if (/^[dtcs]?frac$/.test(name)) return withUnit(parser, fractionAtom(parser));
  if (/^[dt]?binom$/.test(name)) return call('binom', argument(parser), argument(parser));
  if (name === 'sqrt') return withUnit(parser, root(parser));
  if (FUNCTIONS.has(name) || COLLECTORS.has(name)) return functionOf(parser, name);
  if (CONSTANTS.has(name)) return symbol(CONSTANTS.get(name)!);
  if (GREEK.has(name)) return symbol(subscripted(parser, name.replace(/^var(?!nothing)/, '')));
  if (ACCENTS.has(name)) return accented(parser, name);
  if (name === 'boxed' || name === 'fbox' || name === 'ensuremath') return argument(parser);
  if (name === 'lfloor' || name === 'llcorner') return enclosed(parser, 'floor', ['rfloor', 'lrcorner']);
  if (name === 'lceil' || name === 'ulcorner') return enclosed(parser, 'ceil', ['rceil', 'urcorner']);
  if (
    name === 'sum' ||
    name === 'prod' ||
    name === 'int' ||
    name === 'lim' ||
    name === 'iint' ||
    name === 'oint'
  )
    return bigOperator(parser, name);
  if (name === 'angle' || name === 'triangle' || name === 'measuredangle')
    return name === 'triangle' ? call(name, points(parser, name)) : call('angle', points(parser, 'angle'));
  if (name === 'neg' || name === 'lnot') return call('not', parseFactor(parser));
  if (name === 'ldots' || name === 'cdots' || name === 'dots' || name === 'dotsc' || name === 'dotsb')
    return symbol('...');
  if (['underset', 'overset', 'stackrel', 'color', 'textcolor'].includes(name)) {
    argument(parser);
    return argument(parser);
  }
  throw new Unreadable(`\\${name}`);
}

/** The capital letters that name an angle or a triangle; a number or another factor where there are none. */
function points(parser: Parser, name: string): Expr {
  const letters: Expr[] = [];
  for (;;) {
    const token = peek(parser);
    if ((token?.kind !== 'letter' && token?.kind !== 'word') || !/^[A-Z]+$/.test(token.text)) break;
    parser.at++;
    letters.push(...[...token.text].map(symbol));
  }
  if (letters.length === 0) return parseFactor(parser);
  if (name !== 'angle' || letters.length !== 3) return product(letters);
  // The vertex of an angle stands between its two arms.
  const [arm, vertex, other] = letters.map((point) => (point.kind === 'symbol' ? point.name : ''));
  return symbol([arm, other].sort().join(vertex));
}

/** One argument of a command: a group, or a single digit or letter (`\frac12`, `\sqrt2`). */
function argument(parser: Parser): Expr {
  const token = peek(parser);
  if (token === undefined) throw new Unreadable('no-argument');
  if (token.kind === 'open' && token.text === '{') {
    parser.at++;
    return group(parser, '{');
  }
  if (token.kind === 'number' && token.text.length > 1) return digit(parser, token);
  return parseAtom(parser);
}

/** The first digit of a number, the rest of it put back: `\frac12` is a half. */
function digit(parser: Parser, token: Token): Expr {
  const rest = token.text.slice(1);
  if (!/^\d+$/.test(token.text)) {
    parser.at++;
    return literal(token);
  }
  const tokens = parser.tokens as Token[];
  tokens[parser.at] = { kind: 'number', text: rest, spaced: false, value: { p: BigInt(rest), q: 1n } };
  return { kind: 'number', value: { p: BigInt(token.text[0]!), q: 1n } };
}

function fractionAtom(parser: Parser): Expr {
  const top = argument(parser);
  const bottom = argument(parser);
  const literals = [top, bottom].every((part) => part.kind === 'number' && part.decimals === undefined);
  // Kept apart while mixed numbers are recognised; a quotient otherwise.
  return literals ? call('frac', top, bottom) : product([top, power(bottom, MINUS_ONE_EXPR)]);
}

function root(parser: Parser): Expr {
  let index: Expr | null = null;
  if (peek(parser)?.text === '[') {
    parser.at++;
    const inside = group(parser, '[');
    index = inside.kind === 'list' ? inside.items[0]! : inside;
  }
  const radicand = argument(parser);
  return call('root', radicand, index ?? { kind: 'number', value: { p: 2n, q: 1n } });
}

/** sin x, sin^2 x, sin(x), log_2 x, gcd(a, b). */
function functionOf(parser: Parser, spelling: string): Expr {
  const name = FUNCTIONS.get(spelling) ?? spelling;
  let base: Expr | null = null;
  let exponent: Expr | null = null;
  for (;;) {
    const token = peek(parser);
    if (token?.text === '_' && base === null) {
      parser.at++;
      base = scriptOf(parser);
    } else if (token?.text === '^' && exponent === null) {
      parser.at++;
      exponent = scriptOf(parser);
    } else break;
  }
  const args = functionArguments(parser);
  // The inverse function has its own name.
  const inverse =
    exponent?.kind === 'number' &&
    exponent.value.p === -1n &&
    exponent.value.q === 1n &&
    /^(sin|cos|tan|cot|sec|csc)h?$/.test(name);
  const applied = call(inverse ? `a${name}` : name, ...args, ...(base === null ? [] : [base]));
  return exponent === null || inverse ? applied : power(applied, exponent);
}

function functionArguments(parser: Parser): readonly Expr[] {
  const token = peek(parser);
  if (token === undefined) throw new Unreadable('no-argument');
  if (token.kind === 'open') {
    parser.at++;
    const inside = group(parser, token.text);
    return inside.kind === 'list' ? inside.items : [inside];
  }
  const factors = [parseFactor(parser)];
  for (;;) {
    const next = peek(parser);
    const joins =
      next?.kind === 'letter' ||
      next?.kind === 'number' ||
      (next?.kind === 'command' && (GREEK.has(next.text) || CONSTANTS.has(next.text)));
    if (!joins) return [product(factors)];
    factors.push(parseFactor(parser));
  }
}

function accented(parser: Parser, name: string): Expr {
  const inside = argument(parser);
  const ends = inside.kind === 'product' ? inside.factors : [];
  if (
    ends.length === 2 &&
    /^(?:vec|overrightarrow)$/.test(name) &&
    ends.every(({ kind }) => kind === 'symbol')
  )
    return symbol(`vec:${ends.map((end) => (end.kind === 'symbol' ? end.name : '')).join('')}`);
  // A line over a segment's ends is that segment.
  if (inside.kind === 'product') return inside;
  if (inside.kind === 'symbol')
    return symbol(subscripted(parser, name === 'underline' ? inside.name : `${name}:${inside.name}`));
  return name === 'underline' ? inside : call(name, inside);
}

function enclosed(parser: Parser, name: string, closers: readonly string[]): Expr {
  const inside = parseSum(parser);
  const token = parser.tokens[parser.at++];
  if (token?.kind !== 'command' || !closers.includes(token.text)) throw new Unreadable('unclosed');
  return call(name, inside);
}

/** Sums, products, integrals and limits with their bounds. */
function bigOperator(parser: Parser, name: string): Expr {
  const bounds: Record<'_' | '^', Expr> = { _: symbol(''), '^': symbol('') };
  for (;;) {
    const token = peek(parser);
    if (token?.text !== '_' && token?.text !== '^') break;
    parser.at++;
    const empty = peek(parser)?.text === '{' && parser.tokens[parser.at + 1]?.text === '}';
    if (empty) parser.at += 2;
    else bounds[token.text] = peek(parser)?.text === '{' ? bound(parser) : scriptOf(parser);
  }
  return call(name, bounds._, bounds['^'], parseTerm(parser));
}

function bound(parser: Parser): Expr {
  parser.at++;
  const inside = parseRelation(parser);
  if (parser.tokens[parser.at++]?.text !== '}') throw new Unreadable('unclosed');
  return inside;
}

function environment(parser: Parser, name: string): Expr {
  const rows: Expr[][] = [[]];
  for (;;) {
    const token = peek(parser);
    if (token === undefined) throw new Unreadable('unclosed');
    if (token.kind === 'end') break;
    if (token.text === '&' || token.text === '\\\\') {
      parser.at++;
      if (token.text === '\\\\') rows.push([]);
      continue;
    }
    rows.at(-1)!.push(parseRelation(parser));
    const after = peek(parser);
    if (after?.text === ',') parser.at++;
  }
  parser.at++;
  const filled = rows.filter((row) => row.length > 0);
  if (/matrix|array|cases/.test(name)) return { kind: 'matrix', rows: filled };
  const items = filled.flat();
  return items.length === 1 ? items[0]! : { kind: 'list', open: '', close: '', items };
}

/** A number with the unit words behind it. */
export function withUnit(parser: Parser, value: Expr): Expr {
  const start = parser.at;
  let unit = '';
  for (;;) {
    const token = peek(parser);
    if (token === undefined) break;
    if (token.kind === 'text' || token.kind === 'word' || (unit !== '' && token.kind === 'letter')) {
      const name = token.text.replace(/[\\.,{}]/g, ' ').trim();
      if (unit === '' && !isUnit(name, token)) break;
      if (JOINERS.has(name.toLowerCase())) break;
      unit += ` ${name}`;
      parser.at++;
    } else if (unit !== '' && token.text === '^') {
      parser.at++;
      const exponent = scriptOf(parser);
      unit += `^${exponent.kind === 'number' ? exponent.value.p : '?'}`;
    } else if (
      unit !== '' &&
      token.text === '/' &&
      ['text', 'word', 'letter'].includes(parser.tokens[parser.at + 1]?.kind ?? '')
    ) {
      unit += '/';
      parser.at++;
    } else break;
  }
  if (unit === '') {
    parser.at = start;
    return value;
  }
  return { kind: 'quantity', value, unit: unit.trim() };
}

/** A word behind a number is a unit unless it is mathematics. */
function isUnit(name: string, token: Token): boolean {
  if (
    name === '' ||
    FUNCTIONS.has(name) ||
    COLLECTORS.has(name) ||
    CONSTANTS.has(name) ||
    GREEK.has(name) ||
    name === 'sqrt' ||
    name === 'mod'
  )
    return false;
  if (token.kind === 'text') return !/^[a-zA-Z]$/.test(name) || UNITS.has(name);
  const known = UNITS.has(name) || UNITS.has(name.replace(/s$/, ''));
  return known || (token.spaced && /^[a-zA-Z]{2,}$/.test(name) && !/^[A-Z]+$/.test(name));
}
