/** Owns the grammar of answers: tokens in, a tree out. Computes and compares nothing. */

import { ONE, rational } from '../../util/rational.ts';
import { cleanAnswer } from './clean.ts';
import { call, type Expr, power, product, type RelationOperator, sum, symbol } from './expression.ts';
import { JOINERS, RELATIONS, UNITS } from './names.ts';
import { parseAtom, startsAtom, subscripted, withUnit } from './parser-atoms.ts';
import { type Token, tokenize, Unreadable } from './tokens.ts';

const MAX_DEPTH = 80;
export const MINUS_ONE_EXPR: Expr = { kind: 'number', value: rational(-1) };

/** Where a parse stands. */
export interface Parser {
  readonly tokens: readonly Token[];
  at: number;
  depth: number;
  /** Inside bars a bar closes. */
  bars: number;
}

/**
 * The tree of an answer. With `grouping` off, commas between digits separate. Throws Unreadable or TooLarge; what is
 * left over after a whole answer is an error too.
 */
export function parseAnswer(text: string, grouping = true): Expr {
  const tokens = tokenize(cleanAnswer(text), grouping);
  const parser: Parser = { tokens, at: 0, depth: 0, bars: 0 };
  const items = parseItems(parser);
  if (parser.at < tokens.length || items.length === 0) throw new Unreadable('left-over');
  return items.length === 1 ? items[0]! : { kind: 'list', open: '', close: '', items };
}

/** Relations with separators between them, up to a closing bracket or the end. */
export function parseItems(parser: Parser): Expr[] {
  const items: Expr[] = [];
  for (;;) {
    while (separator(parser)) parser.at++;
    const token = peek(parser);
    if (token === undefined || token.kind === 'close' || token.kind === 'end' || stops(token)) return items;
    items.push(parseRelation(parser));
    const after = peek(parser);
    if (
      after !== undefined &&
      after.kind !== 'close' &&
      after.kind !== 'end' &&
      !stops(after) &&
      !separator(parser)
    )
      throw new Unreadable('unexpected');
  }
}

function stops({ text }: Token): boolean {
  return text === '&' || text === 'choose';
}

function separator(parser: Parser): boolean {
  const token = peek(parser);
  if (token === undefined) return false;
  if (token.kind === 'op')
    return (
      token.text === ',' ||
      token.text === ';' ||
      token.text === '\\\\' ||
      (token.text === '.' && parser.at === parser.tokens.length - 1)
    );
  if (token.kind === 'text' || token.kind === 'word')
    return (
      token.text === '' ||
      JOINERS.has(token.text.toLowerCase().replace(/[\s,.]/g, '')) ||
      /^[\s,;]*$/.test(token.text)
    );
  return (
    token.kind === 'command' &&
    (token.text === 'lor' || token.text === 'vee' || token.text === 'land' || token.text === 'wedge')
  );
}

/** A chain of relations, or one expression. */
export function parseRelation(parser: Parser): Expr {
  enter(parser);
  const parts = [parseUnion(parser)];
  const operators: RelationOperator[] = [];
  for (;;) {
    const operator = relationAt(parser);
    if (operator === null) break;
    const before = parts.at(-1)!;
    // "a = \boxed{..}" and "x =" leave nothing on one side.
    if (isSeparatorOrEnd(parser)) throw new Unreadable('nothing-after');
    const clock = operator === ':' ? clockTime(parser, before) : null;
    const right = clock ?? parseUnion(parser);
    if (clock !== null) parts[parts.length - 1] = clock;
    else if (operator === ':') parts[parts.length - 1] = ratio(before, right);
    else {
      operators.push(operator);
      parts.push(right);
    }
  }
  parser.depth--;
  return operators.length === 0 ? parts[0]! : { kind: 'relation', parts, operators };
}

function isSeparatorOrEnd(parser: Parser): boolean {
  return peek(parser) === undefined || peek(parser)?.kind === 'close';
}

/** 3:05, 12:00 and 7:30 p.m. are times: they have a zero before the minutes, or half a day's name behind. */
function clockTime(parser: Parser, hours: Expr): Expr | null {
  const [minutes, half, point, last] = parser.tokens.slice(parser.at, parser.at + 4);
  if (hours.kind !== 'number' || minutes?.kind !== 'number' || !/^[0-5]\d$/.test(minutes.text)) return null;
  const written = half?.kind === 'text' || half?.kind === 'word' ? half.text : '';
  const spelled =
    half?.kind === 'letter' && point?.text === '.' ? `${half.text}.${last?.text ?? ''}` : written;
  const name = /^\s*([ap])\.?\s*m\.?$/i.exec(spelled)?.[1]?.toLowerCase() ?? null;
  if (name === null && !minutes.text.startsWith('0')) return null;
  parser.at++;
  if (name !== null) parser.at += spelled === written ? 1 : 3;
  if (name !== null && peek(parser)?.text === '.') parser.at++;
  return { kind: 'text', text: `${hours.value.p}:${minutes.text}${name === null ? '' : ` ${name}m`}` };
}

/** a : b is the number a / b; longer ratios are kept whole. */
function ratio(left: Expr, right: Expr): Expr {
  if (left.kind === 'call' && left.name === 'ratio') return call('ratio', ...left.args, right);
  return call('ratio', left, right);
}

function relationAt(parser: Parser): RelationOperator | null {
  const token = peek(parser);
  if (token === undefined || (token.kind !== 'op' && token.kind !== 'command')) return null;
  if (token.kind === 'command' && token.text === 'not') {
    parser.at++;
    const negated = relationAt(parser);
    return negated === '=' ? '≠' : negated;
  }
  const operator = RELATIONS.get(token.text);
  if (operator === undefined) return null;
  parser.at++;
  // '<' '=' with a space between, as models write it.
  const following = peek(parser);
  if ((operator === '<' || operator === '>') && following?.kind === 'op' && following.text === '=') {
    parser.at++;
    return operator === '<' ? '≤' : '≥';
  }
  return operator;
}

function parseUnion(parser: Parser): Expr {
  let left = parseSum(parser);
  for (;;) {
    const token = peek(parser);
    if (token?.kind !== 'command') return left;
    const name =
      token.text === 'cup'
        ? 'union'
        : token.text === 'cap'
          ? 'intersection'
          : token.text === 'setminus' || token.text === 'backslash'
            ? 'setminus'
            : null;
    if (name === null) return left;
    parser.at++;
    const right = parseSum(parser);
    left =
      left.kind === 'call' && left.name === name ? call(name, ...left.args, right) : call(name, left, right);
  }
}

/** Terms joined by plus and minus. */
export function parseSum(parser: Parser): Expr {
  enter(parser);
  let terms: Expr[] = [];
  let pending = signAt(parser);
  if (pending === '±') {
    terms = [{ kind: 'plusminus', left: null, right: parseTerm(parser) }];
  } else terms.push(signed(pending, parseTerm(parser)));
  for (;;) {
    pending = signAt(parser);
    if (pending === null) break;
    const term = parseTerm(parser);
    if (pending === '±') terms = [{ kind: 'plusminus', left: sum(terms), right: term }];
    else terms.push(signed(pending, term));
  }
  parser.depth--;
  return sum(terms);
}

function signAt(parser: Parser): '+' | '-' | '±' | null {
  let sign: '+' | '-' | '±' | null = null;
  for (;;) {
    const token = peek(parser);
    const here =
      token?.kind === 'op' && (token.text === '+' || token.text === '-')
        ? token.text
        : token?.kind === 'command' && (token.text === 'pm' || token.text === 'mp')
          ? '±'
          : null;
    if (here === null) return sign;
    parser.at++;
    // '--' is '+'; '+-' is '-'.
    sign = here === '±' ? '±' : sign === '-' ? (here === '-' ? '+' : '-') : sign === '±' ? '±' : here;
  }
}

function signed(sign: '+' | '-' | '±' | null, term: Expr): Expr {
  if (sign !== '-') return term;
  if (term.kind === 'number') return { ...term, value: { p: -term.value.p, q: term.value.q } };
  if (term.kind === 'quantity') return { ...term, value: signed('-', term.value) };
  // -7 mod 3 is (-7) mod 3.
  if (term.kind === 'call' && term.name === 'mod')
    return call('mod', signed('-', term.args[0]!), term.args[1]!);
  return { kind: 'product', factors: [MINUS_ONE_EXPR, term] };
}

/** Factors multiplied and divided, a product without a sign included. */
export function parseTerm(parser: Parser): Expr {
  const factors: Expr[] = [parseFactor(parser)];
  for (;;) {
    const token = peek(parser);
    if (token === undefined) break;
    if (timesAt(token)) {
      parser.at++;
      factors.push(signedFactor(parser));
    } else if (overAt(token)) {
      parser.at++;
      factors.push(power(signedFactor(parser), MINUS_ONE_EXPR));
    } else if (moduloAt(token)) {
      parser.at++;
      const modulus = signedFactor(parser);
      factors.splice(0, factors.length, call('mod', product([...factors]), modulus));
    } else if (token.kind === 'number' && factors.at(-1)!.kind === 'quantity') {
      // 2 hours 30 minutes; 3 boxes of 12 is nothing that can be told.
      const whole = togetherWith(factors.at(-1)!, parseFactor(parser));
      if (whole === null) throw new Unreadable('two-quantities');
      factors[factors.length - 1] = whole;
    } else if (startsAtom(parser, factors)) {
      const mixed = mixedNumber(parser, factors.at(-1)!);
      if (mixed !== null) factors[factors.length - 1] = postfixed(parser, mixed);
      else if (token.kind === 'number' && factors.at(-1)!.kind === 'number') break;
      else factors.push(parseFactor(parser));
    } else break;
  }
  return product(factors);
}

/** The sum of two quantities of one dimension, in the first one's unit; null for others. */
function togetherWith(large: Expr, small: Expr): Expr | null {
  if (large.kind !== 'quantity' || small.kind !== 'quantity') return null;
  const [first, second] = [large, small].map(({ unit }) => UNITS.get(unit.toLowerCase().replace(/s$/, '')));
  if (first === undefined || second === undefined || first[0] !== second[0] || first[1] <= second[1])
    return null;
  const share = call('frac', decimal(second[1]), decimal(first[1]));
  return { ...large, value: sum([large.value, product([share, small.value])]) };
}

function decimal(factor: number): Expr {
  return { kind: 'number', value: rational(BigInt(Math.round(factor * 1e12)), 10n ** 12n) };
}

function timesAt({ kind, text }: Token): boolean {
  if (kind === 'op') return text === '*';
  return kind === 'command' && (text === 'cdot' || text === 'times' || text === 'ast' || text === 'bullet');
}

function overAt({ kind, text }: Token): boolean {
  return (kind === 'op' && text === '/') || (kind === 'command' && text === 'div');
}

function moduloAt({ kind, text }: Token): boolean {
  return (kind === 'command' || kind === 'word') && (text === 'mod' || text === 'bmod');
}

function signedFactor(parser: Parser): Expr {
  return signed(signAt(parser), parseFactor(parser));
}

/** "3 1/2" and "3\frac{1}{2}" are three and a half where the fraction is below 1 and made of literals. */
function mixedNumber(parser: Parser, whole: Expr): Expr | null {
  if (whole.kind !== 'number' || whole.decimals !== undefined || whole.value.q !== 1n) return null;
  const start = parser.at;
  const token = parser.tokens[start]!;
  if (parser.tokens[start - 1]?.kind !== 'number' || token.line) return null;
  let fraction: Expr | null = null;
  if (token.kind === 'command' && /^[dt]?frac$/.test(token.text)) fraction = parseAtom(parser);
  else if (
    token.kind === 'number' &&
    token.spaced &&
    parser.tokens[start + 1]?.text === '/' &&
    parser.tokens[start + 2]?.kind === 'number'
  ) {
    fraction = call('frac', literal(token), literal(parser.tokens[start + 2]!));
    parser.at += 3;
  }
  const bare = fraction?.kind === 'quantity' ? fraction.value : fraction;
  const parts = bare?.kind === 'call' && bare.name === 'frac' ? bare.args : null;
  const [top, bottom] = parts ?? [];
  const proper =
    top?.kind === 'number' &&
    bottom?.kind === 'number' &&
    top.value.q === 1n &&
    bottom.value.q === 1n &&
    top.value.p >= 0n &&
    top.value.p < bottom.value.p;
  if (!proper || peek(parser)?.text === '^') {
    parser.at = start;
    return null;
  }
  const rest = rational(top.value.p, bottom.value.p);
  const sign = whole.value.p < 0n ? -1n : 1n;
  const value: Expr = { kind: 'number', value: rational(whole.value.p * rest.q + sign * rest.p, rest.q) };
  return fraction?.kind === 'quantity' ? { ...fraction, value } : withUnit(parser, value);
}

export function literal(token: Token): Expr {
  return {
    kind: 'number',
    value: token.value ?? ONE,
    ...(token.decimals === undefined ? {} : { decimals: token.decimals }),
  };
}

/** An atom with its powers, factorials, per cents and degrees. */
export function parseFactor(parser: Parser): Expr {
  enter(parser);
  const factor = postfixed(parser, parseAtom(parser));
  parser.depth--;
  return factor;
}

function postfixed(parser: Parser, atom: Expr): Expr {
  let base = atom;
  for (;;) {
    const token = peek(parser);
    if (token === undefined) break;
    if (token.text === '^' || token.text === '**') {
      parser.at++;
      base = raised(parser, base);
      if (base.kind === 'power' && isLiteral(base.base) && isLiteral(base.exponent))
        base = withUnit(parser, base);
    } else if (token.kind === 'op' && token.text === '!') {
      parser.at++;
      // Two signs that touch are the product of every second number, not the factorial of one.
      const next = peek(parser);
      const twice = next?.kind === 'op' && next.text === '!' && !next.spaced;
      if (twice) parser.at++;
      base = call(twice ? 'factorial2' : 'factorial', base);
    } else if (token.kind === 'op' && token.text === '%') {
      parser.at++;
      base = { kind: 'quantity', value: base, unit: '%' };
    } else if (token.kind === 'op' && token.text === "'" && base.kind === 'symbol') {
      parser.at++;
      base = symbol(`${base.name}'`);
    } else if (token.text === '_' && base.kind === 'power' && base.base.kind === 'symbol') {
      // x^2_i is (x_i)^2.
      base = { ...base, base: symbol(subscripted(parser, base.base.name)) };
    } else if (token.kind === 'op' && token.text === '_' && base.kind === 'number') {
      parser.at++;
      base = call('base', base, scriptOf(parser));
    } else if (token.kind === 'command' && token.text === 'degree') {
      parser.at++;
      base = { kind: 'quantity', value: base, unit: 'degree' };
    } else if (token.kind === 'command' && token.text === 'pmod') {
      parser.at++;
      base = { kind: 'quantity', value: base, unit: `mod ${print(parseAtom(parser))}` };
    } else break;
  }
  return base;
}

function raised(parser: Parser, base: Expr): Expr {
  const token = peek(parser);
  const inner = token?.text === '{' ? parser.tokens[parser.at + 1] : token;
  if (inner?.kind === 'command' && (inner.text === 'circ' || inner.text === 'degree')) {
    parser.at += token?.text === '{' ? 3 : 1;
    return { kind: 'quantity', value: base, unit: 'degree' };
  }
  // 3^{+} and 3^{-}: a limit from one side.
  const side = inner?.kind === 'op' && /^[-+]$/.test(inner.text) && token !== inner ? inner.text : null;
  if (side !== null && parser.tokens[parser.at + 2]?.text === '}') {
    parser.at += 3;
    return call(`from${side}`, base);
  }
  if (inner?.kind === 'command' && inner.text === 'prime') {
    parser.at += token?.text === '{' ? 3 : 1;
    return base.kind === 'symbol' ? symbol(`${base.name}'`) : base;
  }
  const exponent = scriptOf(parser);
  // Powers bind to the right: 2^3^2 is 2^9.
  const again = peek(parser);
  if (again?.text === '^' || again?.text === '**') {
    parser.at++;
    return power(base, raised(parser, exponent));
  }
  return power(base, exponent);
}

function isLiteral(expr: Expr): boolean {
  return expr.kind === 'number';
}

/** The argument of ^ or _: a group, a command with its arguments, or one digit or letter. */
export function scriptOf(parser: Parser): Expr {
  const sign = signAt(parser);
  const token = peek(parser);
  if (token === undefined) throw new Unreadable('nothing-raised');
  // One letter or number alone: what stands behind it belongs to what carries the script.
  if (token.kind === 'letter' || token.kind === 'number') {
    parser.at++;
    return signed(sign, token.kind === 'letter' ? symbol(token.text) : literal(token));
  }
  return signed(sign, parseAtom(parser));
}

export function peek(parser: Parser): Token | undefined {
  return parser.tokens[parser.at];
}

/** One level deeper; throws Unreadable where nesting passes all reason. */
export function enter(parser: Parser): void {
  if (++parser.depth > MAX_DEPTH) throw new Unreadable('too-deep');
}

function print(expr: Expr): string {
  return expr.kind === 'number' ? String(expr.value.p) : expr.kind === 'symbol' ? expr.name : expr.kind;
}
