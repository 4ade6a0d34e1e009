/**
 * Owns matching module paths against the Python regular expressions of adapter files. A pattern is a stranger's text:
 * it is matched by sets of positions, in time polynomial in its length, and never by a backtracking engine.
 */

import { ReckonError } from '../util/errors.ts';

type Node =
  | { readonly kind: 'set'; readonly has: (character: string) => boolean }
  | { readonly kind: 'sequence'; readonly items: readonly Node[] }
  | { readonly kind: 'choice'; readonly items: readonly Node[] }
  | { readonly kind: 'repeat'; readonly item: Node; readonly least: number; readonly most: number }
  | { readonly kind: 'place'; readonly holds: (text: string, position: number) => boolean }
  | { readonly kind: 'look'; readonly item: Node; readonly behind: boolean; readonly wanted: boolean };

const longestPattern = 4000;
const deepestPattern = 40;
const mostRepeats = 1000;

/** Whether the pattern matches the whole text, as Python's `re.fullmatch` says. */
export function matchesWhole(pattern: string, text: string): boolean {
  return endsOf(new Parser(pattern).parse(), text, new Set([0])).has(text.length);
}

/** Whether the pattern matches a beginning of the text, as Python's `re.match` says. */
export function matchesStart(pattern: string, text: string): boolean {
  return endsOf(new Parser(pattern).parse(), text, new Set([0])).size > 0;
}

/** Where the node can end when it starts at one of the positions. */
function endsOf(node: Node, text: string, starts: ReadonlySet<number>): ReadonlySet<number> {
  switch (node.kind) {
    case 'set':
      return new Set([...starts].filter((at) => at < text.length && node.has(text[at]!)).map((at) => at + 1));
    case 'sequence':
      return node.items.reduce((at, item) => (at.size === 0 ? at : endsOf(item, text, at)), starts);
    case 'choice':
      return new Set(node.items.flatMap((item) => [...endsOf(item, text, starts)]));
    case 'repeat':
      return repeatEnds(node, text, starts);
    case 'place':
      return new Set([...starts].filter((at) => node.holds(text, at)));
    case 'look':
      return new Set([...starts].filter((at) => looks(node, text, at) === node.wanted));
  }
}

function repeatEnds(
  { item, least, most }: Node & { kind: 'repeat' },
  text: string,
  starts: ReadonlySet<number>,
): ReadonlySet<number> {
  let reached = starts;
  for (let i = 0; i < least; i++) {
    const next = endsOf(item, text, reached);
    const settled = next.size === reached.size && [...next].every((at) => reached.has(at));
    reached = next;
    if (settled) break;
  }
  const ends = new Set(reached);
  for (let i = least; i < most && reached.size > 0; i++) {
    reached = new Set([...endsOf(item, text, reached)].filter((at) => !ends.has(at)));
    for (const at of reached) ends.add(at);
  }
  return ends;
}

function looks({ item, behind }: Node & { kind: 'look' }, text: string, at: number): boolean {
  if (!behind) return endsOf(item, text, new Set([at])).size > 0;
  for (let start = 0; start <= at; start++) if (endsOf(item, text, new Set([start])).has(at)) return true;
  return false;
}

const isDigit = (character: string) => /^\p{Nd}$/u.test(character);
const isWord = (character: string) => /^[\p{L}\p{N}_]$/u.test(character);
const isSpace = (character: string) => /^\s$/u.test(character);
const not =
  (has: (character: string) => boolean) =>
  (character: string): boolean =>
    !has(character);
const classes: Readonly<Record<string, (character: string) => boolean>> = {
  d: isDigit,
  D: not(isDigit),
  w: isWord,
  W: not(isWord),
  s: isSpace,
  S: not(isSpace),
};
const controls: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', f: '\f', v: '\v' };

function atBoundary(text: string, at: number): boolean {
  const before = at > 0 && isWord(text[at - 1]!);
  return before !== (at < text.length && isWord(text[at]!));
}

const places: Readonly<Record<string, (text: string, at: number) => boolean>> = {
  b: atBoundary,
  B: (text, at) => !atBoundary(text, at),
  A: (_, at) => at === 0,
  Z: (text, at) => at === text.length,
};

/** Reads Python's syntax, less what only counts for captures; what it does not know is an error. */
class Parser {
  private readonly pattern: string;
  private at = 0;
  private depth = 0;

  constructor(pattern: string) {
    this.pattern = pattern;
    if (pattern.length > longestPattern) throw this.refuse(`is longer than ${longestPattern} characters`);
  }

  parse(): Node {
    const node = this.choice();
    if (this.at < this.pattern.length) throw this.refuse("has a ')' too many");
    return node;
  }

  private choice(): Node {
    if (++this.depth > deepestPattern) throw this.refuse(`is nested deeper than ${deepestPattern}`);
    const items = [this.sequence()];
    while (this.take('|')) items.push(this.sequence());
    this.depth--;
    return items.length === 1 ? items[0]! : { kind: 'choice', items };
  }

  private sequence(): Node {
    const items: Node[] = [];
    while (this.at < this.pattern.length && !'|)'.includes(this.pattern[this.at]!)) {
      items.push(this.repeated(this.atom()));
    }
    return { kind: 'sequence', items };
  }

  private repeated(item: Node): Node {
    const range = this.range();
    if (!range) return item;
    this.take('?');
    if (this.take('+')) throw this.refuse('has a possessive quantifier, which is not supported');
    if (this.range()) throw this.refuse('repeats a repetition');
    return { kind: 'repeat', item, least: range[0], most: range[1] };
  }

  private range(): readonly [number, number] | null {
    if (this.take('*')) return [0, Number.POSITIVE_INFINITY];
    if (this.take('+')) return [1, Number.POSITIVE_INFINITY];
    if (this.take('?')) return [0, 1];
    const counted = /^\{(\d*)(,?)(\d*)\}/.exec(this.pattern.slice(this.at));
    if (!counted || counted[0] === '{}') return null;
    const [whole, low, comma, high] = counted as unknown as [string, string, string, string];
    const least = low === '' ? 0 : Number(low);
    const most = comma === '' ? least : high === '' ? Number.POSITIVE_INFINITY : Number(high);
    if (least > most || least > mostRepeats || (most > mostRepeats && high !== '')) {
      throw this.refuse(`has the count ${whole}, which is not supported`);
    }
    this.at += whole.length;
    return [least, most];
  }

  private atom(): Node {
    const character = this.pattern[this.at++]!;
    if (character === '(') return this.group();
    if (character === '[') return this.set();
    if (character === '\\') return this.escape();
    if (character === '.') return { kind: 'set', has: (one) => one !== '\n' };
    if (character === '^') return { kind: 'place', holds: (_, at) => at === 0 };
    if (character === '$') return { kind: 'place', holds: (text, at) => at === text.length };
    if ('*+?'.includes(character)) throw this.refuse(`has a '${character}' with nothing before it`);
    return { kind: 'set', has: (one) => one === character };
  }

  private group(): Node {
    const look = /^\?(<?)([=!])/.exec(this.pattern.slice(this.at));
    const named = /^\?(?:P<\w+>|:)/.exec(this.pattern.slice(this.at));
    if (look) this.at += look[0].length;
    else if (named) this.at += named[0].length;
    else if (this.pattern[this.at] === '?') {
      throw this.refuse(
        `has the group '(${this.pattern.slice(this.at, this.at + 3)}', which is not supported`,
      );
    }
    const item = this.choice();
    if (!this.take(')')) throw this.refuse("has a '(' without its ')'");
    return look ? { kind: 'look', item, behind: look[1] === '<', wanted: look[2] === '=' } : item;
  }

  private escape(): Node {
    const character = this.pattern[this.at++];
    if (character === undefined) throw this.refuse("ends in a '\\'");
    const holds = places[character];
    if (holds) return { kind: 'place', holds };
    return { kind: 'set', has: this.escaped(character) };
  }

  private escaped(character: string): (one: string) => boolean {
    const known = classes[character];
    if (known) return known;
    const control = controls[character];
    if (control === undefined && /[A-Za-z0-9]/.test(character)) {
      throw this.refuse(`has '\\${character}', which is not supported`);
    }
    return (one) => one === (control ?? character);
  }

  private set(): Node {
    const negated = this.take('^');
    const parts: ((one: string) => boolean)[] = [];
    do parts.push(this.setPart());
    while (!this.take(']'));
    const has = (one: string) => parts.some((part) => part(one));
    return { kind: 'set', has: negated ? not(has) : has };
  }

  private setPart(): (one: string) => boolean {
    const low = this.pattern[this.at++];
    if (low === undefined) throw this.refuse("has a '[' without its ']'");
    if (low === '\\') return this.escaped(this.pattern[this.at++] ?? '');
    const high = this.pattern[this.at + 1];
    if (this.pattern[this.at] !== '-' || high === undefined || high === ']') return (one) => one === low;
    this.at += 2;
    return (one) => one >= low && one <= high;
  }

  private take(character: string): boolean {
    if (this.pattern[this.at] !== character) return false;
    this.at++;
    return true;
  }

  private refuse(why: string): ReckonError {
    const shown = this.pattern.length > 80 ? `${this.pattern.slice(0, 80)}...` : this.pattern;
    return new ReckonError('data', 'bad-pattern', `the adapter's pattern '${shown}' ${why}`);
  }
}
