/** Owns the published string normalisations of answers, exactly as their graders apply them. Compares nothing. */

/** Whose rules: hendrycks/math, the mathd rules of PRM800K, PRM800K's own, Minerva's (page 18 of arXiv 2206.14858), DAPO's. */
export type NormaliserName = 'hendrycks' | 'mathd' | 'prm800k' | 'minerva' | 'dapo';

/** The answer as that grader compares it. */
export function normaliseAnswer(answer: string, rules: NormaliserName): string {
  switch (rules) {
    case 'hendrycks':
      return orUnchanged(answer, stripHendrycks);
    case 'mathd':
      return orUnchanged(answer.trim(), (text) => stripHendrycks(withoutText(text).trim()));
    case 'prm800k':
      return normalisePrm800k(answer);
    case 'minerva':
      return normaliseMinerva(answer, MINERVA_REMOVED);
    case 'dapo':
      // DAPO's list has no feet, which would cut \\infty and \\left in two.
      return normaliseMinerva(
        answer,
        MINERVA_REMOVED.filter((word) => word !== 'ft'),
      ).trim();
  }
}

/** Where the rules meet a text that they cannot take apart, they leave it. */
class Unfit extends Error {}

export function orUnchanged(text: string, rule: (text: string) => string): string {
  try {
    return rule(text);
  } catch (error) {
    if (error instanceof Unfit) return text;
    throw error;
  }
}

/** `\text{...}` around the whole answer, taken off. */
export function withoutText(text: string): string {
  const prefix = '\\text{';
  const single =
    text.startsWith(prefix) && text.endsWith('}') && text.length > prefix.length + 1 && !text.includes('\n');
  return single ? text.slice(prefix.length, -1) : text;
}

/** hendrycks/math: line ends, spacing, fractions, degrees, dollars, units on the right, per cents, `k =`, roots, a/b. */
function stripHendrycks(answer: string): string {
  let text = answer.replaceAll('\n', '').replaceAll('\\!', '').replaceAll('\\\\', '\\');
  text = text
    .replaceAll('tfrac', 'frac')
    .replaceAll('dfrac', 'frac')
    .replaceAll('\\left', '')
    .replaceAll('\\right', '');
  text = withoutSigns(text);
  return finish(text);
}

/** Degrees, dollars, units written as `\text{ ...}`, per cents. */
export function withoutSigns(text: string): string {
  let rest = text.replaceAll('^{\\circ}', '').replaceAll('^\\circ', '').replaceAll('\\$', '');
  const parts = rest.split('\\text{ ');
  if (parts.length > 2) throw new Unfit();
  rest = parts[0]!;
  return rest.replaceAll('\\%', '');
}

/** Leading zeros, `x =`, roots and fractions in braces, spaces, and a/b of whole numbers. */
export function finish(answer: string): string {
  let text = answer.replaceAll(' .', ' 0.').replaceAll('{.', '{0.');
  if (text === '') return text;
  if (text.startsWith('.')) text = `0${text}`;
  const sides = text.split('=');
  if (sides.length === 2 && sides[0]!.length <= 2) text = sides[1]!;
  text = bracedRoots(text).replaceAll(' ', '');
  text = bracedFractions(text);
  if (text === '0.5') text = '\\frac{1}{2}';
  return slashFraction(text);
}

function bracedRoots(text: string): string {
  const [first, ...rest] = text.split('\\sqrt');
  return rest.reduce((done, part) => {
    if (part === '') throw new Unfit();
    return part.startsWith('{') ? `${done}\\sqrt${part}` : `${done}\\sqrt{${part[0]}}${part.slice(1)}`;
  }, first!);
}

function bracedFractions(text: string): string {
  const [first, ...rest] = text.split('\\frac');
  let done = first!;
  for (const part of rest) {
    if (part === '') throw new Unfit();
    if (part.startsWith('{')) {
      done += `\\frac${part}`;
      continue;
    }
    if (part.length < 2) return text;
    const [top, bottom] = [part[0]!, part[1]!];
    done += bottom === '{' ? `\\frac{${top}}${part.slice(1)}` : `\\frac{${top}}{${bottom}}${part.slice(2)}`;
  }
  return done;
}

function slashFraction(text: string): string {
  const match = /^(-?\d+)\/(-?\d+)$/.exec(text);
  if (!match) return text;
  const [top, bottom] = [BigInt(match[1]!), BigInt(match[2]!)];
  return `${top}/${bottom}` === text ? `\\frac{${top}}{${bottom}}` : text;
}

const MINERVA_REPLACED: readonly (readonly [string, string])[] = [
  ['an ', ''],
  ['a ', ''],
  ['.$', '$'],
  ['\\$', ''],
  ['\\ ', ''],
  [' ', ''],
  ['mbox', 'text'],
  [',\\text{and}', ','],
  ['\\text{and}', ','],
  ['\\text{m}', '\\text{}'],
];
const MINERVA_REMOVED = [
  'square',
  'ways',
  'integers',
  'dollars',
  'mph',
  'inches',
  'ft',
  'hours',
  'km',
  'units',
  '\\ldots',
  'sue',
  'points',
  'feet',
  'minutes',
  'digits',
  'cents',
  'degrees',
  'cm',
  'gm',
  'pounds',
  'meters',
  'meals',
  'edges',
  'students',
  'childrentickets',
  'multiples',
  '\\text{s}',
  '\\text{.}',
  '\\text{\ns}',
  '\\text{}^2',
  '\\text{}^3',
  '\\text{\n}',
  '\\text{}',
  '\\mathrm{th}',
  '^\\circ',
  '^{\\circ}',
  '\\;',
  ',\\!',
  '{,}',
  '"',
  '\\dots',
];

function normaliseMinerva(answer: string, removed: readonly string[]): string {
  const side = answer.split('=').at(-1)!;
  let text = MINERVA_REPLACED.reduce((done, [from, to]) => done.replaceAll(from, to), side);
  text = removed.reduce((done, word) => done.replaceAll(word, ''), text);
  text = firstFormula(text);
  for (const name of ['text', 'textbf', 'overline']) text = unwrapCommand(text, name);
  text = outermostBox(text);
  text = text
    .replace(/(frac)([^{])(.)/g, 'frac{$2}{$3}')
    .replace(/(sqrt)([^{])/g, 'sqrt{$2}')
    .replaceAll('$', '');
  return /^\d[\d,]*$|^,+\d[\d,]*$/.test(text) ? text.replaceAll(',', '') : text;
}

/** The first formula in dollars on each line that has one stands for that line. */
function firstFormula(text: string): string {
  return text
    .split('\n')
    .map((line) => {
      const start = line.indexOf('$');
      const end = start < 0 ? -1 : line.indexOf('$', start + 1);
      return end < 0 ? line : `$${line.slice(start + 1, end)}$`;
    })
    .join('\n');
}

/** `\name{content}` up to the first closing brace, replaced by its content. */
function unwrapCommand(text: string, name: string): string {
  const opener = `\\${name}{`;
  let [done, at] = ['', 0];
  for (;;) {
    const start = text.indexOf(opener, at);
    const end = start < 0 ? -1 : text.indexOf('}', start + opener.length);
    if (end < 0 || text.slice(start, end).includes('\n')) return done + text.slice(at);
    done += text.slice(at, start) + text.slice(start + opener.length, end);
    at = end + 1;
  }
}

function outermostBox(text: string): string {
  const start = text.indexOf('\\boxed{');
  const end = text.lastIndexOf('}');
  return start < 0 || end < start + 7
    ? text
    : text.slice(0, start) + text.slice(start + 7, end) + text.slice(end + 1);
}

const PRM_UNITS = [
  'degree',
  'cm',
  'centimeter',
  'meter',
  'mile',
  'second',
  'minute',
  'hour',
  'day',
  'week',
  'month',
  'year',
  'foot',
  'feet',
  'inch',
  'yard',
].map((unit) => new RegExp(`${unit}(?:es)?s? *(?:\\^[0-9]+)?`, 'g'));

function normalisePrm800k(answer: string): string {
  let text = withoutText(answer)
    .replaceAll('\\%', '%')
    .replaceAll('\\$', '$')
    .replaceAll('$', '')
    .replaceAll('%', '');
  text = text.replaceAll(' or ', ' , ').replaceAll(' and ', ' , ');
  text = text.replaceAll('million', '*10^6').replaceAll('billion', '*10^9').replaceAll('trillion', '*10^12');
  for (const unit of PRM_UNITS) text = text.replace(unit, '');
  text = text.replace(/\^ *\\circ/g, '');
  if (text.startsWith('{') && text.endsWith('}')) text = text.slice(1, -1);
  text = text.replace(/,\\! */g, '');
  text = wholeFloat(text) ?? text;
  if (text.includes('\\')) text = latexToText(text);
  text = text
    .replace(/- */g, '-')
    .replace(/([0-9]) +([0-9])/g, '$1+$2')
    .replaceAll(' ', '');
  text = text.replaceAll('{', '').replaceAll('}', '').toLowerCase();
  return wholeFloat(withoutGrouping(text)) ?? text;
}

/** A number that Python's float reads and that is whole, as its digits; null for others. */
function wholeFloat(text: string): string | null {
  const value = floatOf(text);
  if (value === null || !Number.isFinite(value) || Math.abs(value - Math.round(value)) > 1e-7) return null;
  return Number.isSafeInteger(Math.round(value))
    ? String(Math.round(value) + 0)
    : String(BigInt(Math.round(value)));
}

/** What Python's float() reads, or null. */
export function floatOf(text: string): number | null {
  const trimmed = text.trim();
  if (!/^[+-]?(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(trimmed)) return null;
  return Number(trimmed.replaceAll('_', ''));
}

/** Commas between a digit and exactly three more are dropped. */
export function withoutGrouping(text: string): string {
  let [before, after] = ['', text];
  while (before !== after) [before, after] = [after, after.replace(/(\d),(\d\d\d)(?=$|\D)/g, '$1$2')];
  return after;
}

const SIGNS: Readonly<Record<string, string>> = {
  pi: 'π',
  infty: '∞',
  cup: '∪',
  cdot: '·',
  times: '×',
  le: '≤',
  leq: '≤',
  ge: '≥',
  geq: '≥',
  ne: '≠',
  neq: '≠',
  pm: '±',
  alpha: 'α',
  beta: 'β',
  theta: 'θ',
  lambda: 'λ',
  mu: 'μ',
  omega: 'ω',
  phi: 'ϕ',
  ldots: '…',
  dots: '…',
  cdots: '⋯',
  in: '∈',
  emptyset: '∅',
  circ: '∘',
  quad: '  ',
  qquad: '    ',
};

/** LaTeX as plain text, the way that pylatexenc writes it and PRM800K reads it on. */
function latexToText(latex: string): string {
  const source = latex
    .replaceAll('\\tfrac', '\\frac')
    .replaceAll('\\dfrac', '\\frac')
    .replaceAll('\\frac', ' \\frac');
  const text = plainOf(source, 0).replaceAll('√', 'sqrt').replaceAll('π', 'pi').replaceAll('∞', 'inf');
  return text.replaceAll('∪', 'U').replaceAll('·', '*').replaceAll('×', '*').trim();
}

function plainOf(source: string, depth: number): string {
  if (depth > 40) return source;
  let [out, at] = ['', 0];
  const group = (): string => {
    while (source[at] === ' ') at++;
    if (source[at] !== '{') {
      const command = /^\\[a-zA-Z]+/.exec(source.slice(at, at + 40))?.[0];
      const taken = command ?? source[at] ?? '';
      at += taken.length;
      return plainOf(taken, depth + 1);
    }
    const end = closingBrace(source, at);
    const inside = source.slice(at + 1, end);
    at = end + 1;
    return plainOf(inside, depth + 1);
  };
  while (at < source.length) {
    const character = source[at]!;
    if (character !== '\\') {
      if (character === '~' || character === '&') out += ' ';
      else if (character !== '{' && character !== '}') out += character;
      at++;
      continue;
    }
    const name = /^[a-zA-Z]+/.exec(source.slice(at + 1, at + 40))?.[0] ?? source[at + 1] ?? '';
    at += 1 + name.length;
    if (/[a-zA-Z]/.test(name)) while (source[at] === ' ') at++;
    if (name === 'frac') out += `${bracketed(group())}/${bracketed(group())}`;
    else if (name === 'begin' || name === 'end') {
      const matrix = /matrix|array/.test(group());
      out += matrix ? (name === 'begin' ? '[' : ']') : '';
    } else if (name === '\\') out += ';';
    else if (name === 'sqrt') {
      const index = source[at] === '[' ? source.slice(at, source.indexOf(']', at) + 1) : '';
      at += index.length;
      out += `√${index}(${group()})`;
    } else if (
      /^(text|mathrm|mathbf|textbf|mbox|operatorname|mathit|mathbb|mathcal|overline|boxed)/.test(name)
    )
      out += group();
    else if (
      name === '{' ||
      name === '}' ||
      name === '%' ||
      name === '$' ||
      name === '#' ||
      name === '&' ||
      name === '_'
    )
      out += name;
    else if (name === ',' || name === ';' || name === ':' || name === ' ') out += ' ';
    else if (/^(sin|cos|tan|log|ln|exp|cot|sec|csc|arcsin|arccos|arctan|max|min|gcd)$/.test(name))
      out += name;
    else out += SIGNS[name] ?? '';
  }
  return out;
}

/** pylatexenc brackets what is longer than one character. */
function bracketed(text: string): string {
  return text.length > 1 ? `(${text})` : text;
}

function closingBrace(source: string, at: number): number {
  let depth = 0;
  for (let i = at; i < source.length; i++) {
    if (source[i] === '\\') i++;
    else if (source[i] === '{') depth++;
    else if (source[i] === '}' && --depth === 0) return i;
  }
  return source.length;
}
