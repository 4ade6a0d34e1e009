/** Owns where an answer stands in a text: boxes, tags, marks, phrases, the last formula, the last number. Judges none. */

import { braceEnds } from '../../text/braces.ts';
import { expressionAround, isCutOff, isMeant, lastNumber } from './last-number.ts';
import { isDigit } from './tokens.ts';

/** A piece of text that was taken for the answer, and where it ends in the whole. */
export interface Found {
  readonly answer: string;
  readonly end: number;
}

/** Longest text that is looked at; of a longer one, the end. */
export const MAX_TEXT = 200_000;
const MAX_BARE = 400;

/** Content of every `\\boxed{}` and `\\fbox{}`, outermost only, unclosed ones left out; linear in the text. */
export function boxesIn(text: string): (Found & { start: number })[] {
  const found: (Found & { start: number })[] = [];
  const pattern = /\\(?:boxed|fbox|beginboxed)|<\|begin_of_box\|>/g;
  let ends: ReadonlyMap<number, number> | null = null;
  for (let match = pattern.exec(text); match !== null; match = pattern.exec(text)) {
    const start = match.index;
    const after = start + match[0].length;
    ends ??= braceEnds(text);
    const box = match[0].startsWith('<') ? until(text, after, '<|end_of_box|>') : boxAt(text, after, ends);
    if (box === null) continue;
    found.push({ ...box, start });
    pattern.lastIndex = box.end;
  }
  return found;
}

function until(text: string, from: number, mark: string): Found | null {
  const end = text.indexOf(mark, from);
  return end < 0 ? null : { answer: text.slice(from, end).trim(), end: end + mark.length };
}

function boxAt(text: string, after: number, ends: ReadonlyMap<number, number>): Found | null {
  let at = after;
  while (text[at] === ' ') at++;
  if (text[at] === '{') {
    const close = ends.get(at);
    return close === undefined ? null : { answer: text.slice(at + 1, close).trim(), end: close + 1 };
  }
  // "\boxed 5" without braces, as TeX allows.
  if (at === after) return null;
  let end = at;
  while (end < text.length && !/[\s$.,;]/.test(text[end]!)) end++;
  return end === at ? null : { answer: text.slice(at, end), end };
}

/** The group that opens at `at`, or null where it never closes. */
export function balanced(text: string, at: number): Found | null {
  let depth = 0;
  for (let i = at; i < text.length; i++) {
    const character = text[i];
    if (character === '\\') i++;
    else if (character === '{') depth++;
    else if (character === '}' && --depth === 0) return { answer: text.slice(at + 1, i).trim(), end: i + 1 };
  }
  return null;
}

/** The last box; boxes before it that only "and", "or", commas and signs of mathematics part from it belong to it. */
export function lastBoxes(text: string): Found | null {
  const boxes = boxesIn(text);
  const last = boxes.at(-1);
  if (last === undefined) return null;
  const answers = [last.answer];
  for (let i = boxes.length - 2; i >= 0; i--) {
    const between = text.slice(boxes[i]!.end, boxes[i + 1]!.start);
    if (between.length > 60 || !onlyJoins(between)) break;
    answers.push(boxes[i]!.answer);
  }
  return { answer: answers.reverse().join(', '), end: last.end };
}

function onlyJoins(between: string): boolean {
  const rest = between
    .replace(/\\(?:text|textrm|mathrm|mbox)\s*\{([^{}]*)\}/g, ' $1 ')
    .replace(/\\(?:quad|qquad|[,;:! ()[\]])/g, ' ');
  // Boxes that only space parts are attempts, of which the last counts; side by side they are one formula.
  if (/^(?:[\s,;$.]|and\b|or\b|和|或)*$/.test(rest)) return between === '' || /[,;]|and|or|和|或/.test(rest);
  // What a box is for, or one other word, a unit for instance, may follow it where a joiner follows that.
  return /^\s*(?:(?:for|when|if|where)\s[^.!?]*?|[a-z]+)\s*(?:,|,?\s*(?:and|or)\b)\s*\$*$/.test(rest);
}

/** What stands in the last `<answer>`, closed or not. */
export function lastTag(text: string, tag = 'answer'): Found | null {
  const open = text.lastIndexOf(`<${tag}>`);
  if (open < 0) return null;
  const from = open + tag.length + 2;
  const close = text.indexOf(`</${tag}>`, from);
  return {
    answer: text.slice(from, close < 0 ? undefined : close).trim(),
    end: close < 0 ? text.length : close,
  };
}

/** What stands behind the last `####`, on its line. */
export function afterHashes(text: string): Found | null {
  const at = text.lastIndexOf('####');
  if (at < 0) return null;
  const line = lineFrom(text, at + 4);
  return line === '' ? null : { answer: line, end: at + 4 };
}

function lineFrom(text: string, from: number): string {
  const end = text.indexOf('\n', from);
  return text.slice(from, end < 0 ? undefined : end).trim();
}

const PHRASES =
  /(?:(?:final|correct|my)\s+)?\b(?:answer|result)\b\s*(?:is|are|be|:|=|：)(?:\s*(?:therefore|thus|equal to|then|:))*|\*\*\s*(?:final\s+)?answer\s*(?::\s*)?\*\*:?|\b(?:final\s+)?answer\b\s*(?=\$|\\\(|\\\[)|(?:最终)?(?:答案|结果|回答)(?:\s*(?:是|为|：|:|应为|等于))+|(?:^|\n)A:(?=\s)/gi;

/** What stands behind the last phrase that announces an answer: the formula that follows, or the rest of the sentence. */
export function afterPhrase(text: string): Found | null {
  let last: RegExpExecArray | null = null;
  PHRASES.lastIndex = 0;
  for (let match = PHRASES.exec(text); match !== null; match = PHRASES.exec(text)) last = match;
  if (last === null) return null;
  const from = last.index + last[0].length;
  const rest = text.slice(from, from + 2000);
  const answer = announced(rest);
  // "The result is consistent" announces nothing; "the answer is yes" does.
  const says = /[\d\\]/.test(answer) || (/answer|答案|A:/i.test(last[0]) && answer.split(/\s+/).length <= 4);
  return says ? { answer, end: from } : null;
}

function announced(rest: string): string {
  const start = rest.search(/\S/);
  if (start < 0) return '';
  const formula = formulasIn(rest)[0];
  if (formula !== undefined && /^[\s:*]*$/.test(rest.slice(0, formula.start))) return formula.answer;
  return sentence(rest.slice(start));
}

/** Up to the first end of a sentence or line; a point between digits ends nothing. */
function sentence(text: string): string {
  for (let i = 0; i < text.length; i++) {
    const character = text[i]!;
    if (character === '\n' || character === '。' || text.startsWith('<|', i)) return text.slice(0, i).trim();
    const ends =
      (character === '.' || character === '!' || character === '?') &&
      (text[i + 1] === undefined || /[\s*"<]/.test(text[i + 1]!));
    if (ends && !(character === '!' && isDigit(text[i - 1]))) return text.slice(0, i).trim();
  }
  return text.trim();
}

/** All formulas between dollar signs, \( \) and \[ \]. */
export function formulasIn(text: string): (Found & { start: number })[] {
  const found: (Found & { start: number })[] = [];
  const missing = new Set<string>();
  let at = 0;
  while (at < text.length) {
    const open = opening(text, at);
    if (open === null) break;
    const [start, opener, closer] = open;
    const from = start + opener.length;
    // What closes nothing once closes nothing later: the search is not repeated for every opener.
    const close = missing.has(closer) ? -1 : closing(text, from, closer);
    if (close < 0) missing.add(closer);
    const inside = close < 0 ? '' : text.slice(from, close);
    if (close < 0 || (opener === '$' && isMoney(inside))) {
      at = from;
      continue;
    }
    found.push({ answer: inside.trim(), start, end: close + closer.length });
    at = close + closer.length;
  }
  return found;
}

/** Between single dollars a formula stands on one line; a lone dollar is money, with words up to the next one. */
function isMoney(inside: string): boolean {
  return inside.includes('\n') || /^\d[\d,.]*\s+(?:[a-z]+\s+){2}/i.test(inside.slice(0, 80));
}

function opening(text: string, from: number): readonly [number, string, string] | null {
  for (let i = from; i < text.length; i++) {
    if (text[i] === '\\') {
      if (text[i + 1] === '(') return [i, '\\(', '\\)'];
      if (text[i + 1] === '[' && text[i - 1] !== '\\') return [i, '\\[', '\\]'];
      i++;
    } else if (text[i] === '$') return text[i + 1] === '$' ? [i, '$$', '$$'] : [i, '$', '$'];
  }
  return null;
}

function closing(text: string, from: number, closer: string): number {
  let at = text.indexOf(closer, from);
  while (at > 0 && closer === '$' && text[at - 1] === '\\') at = text.indexOf(closer, at + 1);
  return at;
}

/** Everything behind the thoughts of a model that thinks in tags; the whole where nothing is behind them. */
export function afterThinking(text: string): string {
  const close = text.lastIndexOf('</think>');
  if (close < 0) return text;
  const rest = text.slice(close + 8);
  return rest.trim() === '' ? text : rest;
}

/**
 * The default order: the last `<answer>`; else whichever comes last of a box, a `####` line and an announced answer;
 * else the text itself where it is short and `isBare`; else the last formula or number. Null for nothing.
 */
export function extractAnswer(whole: string, isBare: (text: string) => boolean): string | null {
  const text = afterThinking(whole.slice(-MAX_TEXT));
  const tag = lastTag(text);
  if (tag !== null) return tag.answer === '' ? null : inside(tag.answer, isBare, 'announced');
  const box = lastBoxes(text);
  const marked = [box, afterHashes(text), afterPhrase(text)].filter((found) => found !== null);
  const last = marked.sort((a, b) => b.end - a.end)[0];
  if (last === undefined) return inside(text, isBare, 'text');
  return last.answer === '' ? null : inside(last.answer, isBare, last === box ? 'boxed' : 'announced');
}

/** A program is no answer, and the numbers in it are none. */
const CODE = /__\w+__|\b(?:eval|exec|open|getattr|setattr|compile|system|require|Function)\s*\(/;

function inside(
  text: string,
  isBare: (text: string) => boolean,
  where: 'boxed' | 'announced' | 'text',
): string | null {
  const trimmed = text.trim();
  if (trimmed === '') return null;
  const box = lastBoxes(trimmed);
  const short = trimmed.length <= MAX_BARE;
  // A box within a box is only a part of the answer, unless it is all of it.
  const whole = box !== null && box.end === trimmed.length && /^\\[a-z]*box[^\\]*$/.test(trimmed);
  if (box !== null && (where !== 'boxed' || whole)) return box.answer === '' ? null : box.answer;
  if (short && isBare(trimmed)) return trimmed;
  if (CODE.test(trimmed)) return null;
  const formula = formulasIn(trimmed).findLast(({ answer }) => !/^[a-zA-Z]?$/.test(answer) && isBare(answer));
  const number = lastNumber(trimmed);
  if (formula !== undefined && (number === null || number.end <= formula.end)) return formula.answer;
  // What a box that never closes holds is not known.
  if (number === null) return short && !trimmed.includes('\\boxed') ? trimmed : null;
  if (isCutOff(trimmed, number)) return null;
  if (where !== 'text' && !isMeant(trimmed, number)) return short ? trimmed : null;
  return expressionAround(trimmed, number) ?? number.answer;
}
