/** Owns the comparison of two answer strings by the default rules. Knows no extraction and no worker. */

import { TooLarge } from '../../util/rational.ts';
import { cleanAnswer } from './clean.ts';
import { compareAnswers } from './compare.ts';
import { opaque } from './exact.ts';
import type { Expr } from './expression.ts';
import { parseAnswer } from './parser.ts';
import type { Comparison } from './scalar.ts';
import { some } from './structure.ts';
import { Unreadable } from './tokens.ts';

/** Longest answer that is parsed. */
const MAX_ANSWER = 6000;

/** Both sides in normal form beside the comparison; null for a side that could not be read. */
export interface AnswerComparison extends Comparison {
  readonly prediction: string | null;
  readonly reference: string | null;
}

/** Whether two answers mean the same; an unreadable reference cannot be judged but by its own letters. */
export function compareAnswerTexts(prediction: string, reference: string): AnswerComparison {
  const [left, right] = withoutLabels(tidy(prediction), tidy(reference));
  const [a, b] = [readingsOf(left), readingsOf(right)];
  const forms = { prediction: a[0] ? opaque(a[0]) : null, reference: b[0] ? opaque(b[0]) : null };
  if (left !== '' && squeeze(left) === squeeze(right)) return { equal: true, reason: 'identical', ...forms };
  if (b.length === 0) return { equal: null, reason: 'unreadable-reference', ...forms };
  if (a.length === 0) return { equal: false, reason: 'unreadable-prediction', ...forms };
  let verdict = compareAnswers(a[0]!, b[0]!);
  // Further readings can only find what the first ones missed.
  const others = a.flatMap((x, i) => b.flatMap((y, j): [Expr, Expr][] => (i + j === 0 ? [] : [[x, y]])));
  for (const [x, y] of others) {
    if (verdict.equal === true) break;
    const other = compareAnswers(x, y);
    if (other.equal === true) verdict = other;
  }
  if (verdict.equal !== true && decimalComma(left, right)) verdict = { equal: true, reason: 'exact' };
  return { ...verdict, ...forms };
}

/** The letter of a choice with what it stands for behind it: "C. x = 4", "(C) x = 4". */
const LABELLED = /^(?:([A-J])[.:)]|\(([A-J])\))\s+(?!.*(?:^|[\s(])[A-J][.:)])(\S.*)$/s;
const LETTER = /^(?:\\text(?:bf|rm)?\s*\{)?\(?([A-J])\)?\.?\}?$/;

/** A labelled choice beside another is its letter where the other has one, and what it stands for where it has none. */
function withoutLabels(left: string, right: string): readonly [string, string] {
  const [a, b] = [LABELLED.exec(left), LABELLED.exec(right)];
  const letter = (match: RegExpExecArray, other: string) =>
    LABELLED.test(other) || LETTER.test(other) ? (match[1] ?? match[2])! : match[3]!;
  return [a === null ? left : letter(a, right), b === null ? right : letter(b, left)];
}

/** Whether a text is an answer as it stands: it can be read, and holds no prose. */
export function isBareAnswer(text: string): boolean {
  const tidied = tidy(text);
  const tree = readingsOf(LABELLED.exec(tidied)?.[3] ?? tidied)[0];
  if (tree === undefined) return false;
  if (tree.kind === 'text') return tree.text.length <= 60;
  return !some(tree, (part) => part.kind === 'text' && part.text.length > 2);
}

/** Trees of an answer: commas between digits group, or else separate, where that makes a difference. */
function readingsOf(text: string): Expr[] {
  const readings: Expr[] = [];
  for (const grouping of [true, false]) {
    if (!grouping && (readings.length === 0 || !/\d,\d{3}(?!\d)/.test(text) || !/[a-zA-Z;]|, /.test(text)))
      break;
    const tree = read(text, grouping) ?? (grouping ? read(unstacked(text), grouping) : null);
    if (tree !== null) readings.push(tree);
  }
  return readings;
}

/** A formula written one piece a line in a matrix of one column, put back on one line. */
function unstacked(text: string): string {
  if (text.includes('&') || !/\\begin\{[a-z]*matrix\}/.test(text)) return '';
  return text
    .replace(/\\(?:begin|end)\{[a-z]*matrix\}/g, ' ')
    .replace(/\\text\{[^{}]*\}/g, ' ')
    .replaceAll('\\\\', ' ');
}

function read(text: string, grouping: boolean): Expr | null {
  if (text.length > MAX_ANSWER) return null;
  try {
    return parseAnswer(text, grouping);
  } catch (error) {
    if (error instanceof Unreadable || error instanceof TooLarge || error instanceof RangeError) return null;
    throw error;
  }
}

/** A bracket behind a value that says what it is about: (approximately 3.14), \\text{(about }3.14\\text{ m)}. */
const APPROXIMATION =
  /(?<=\S)(?:\s|\\q?quad|\\[,;: ])*(?:\\text\{\s*)?\(\s*(?:\\approx|≈|approx(?:imately|\.)?|about|roughly)(?![a-z])[^()]*\)\s*\}?$/;

/** The answer without what only wraps or ends it. */
export function tidy(text: string): string {
  let tidied = cleanAnswer(text).trim();
  tidied = tidied.replace(/^\*\*|\*\*$/g, '').trim();
  tidied = tidied.replace(APPROXIMATION, '').trim();
  tidied = tidied.replace(/(?<=[^\d.,\s])[.]+$|(?<=\d)\.$|[,;:]+$/, '').trim();
  return tidied.replace(/\\+$/, '').trim();
}

/** Without what changes nothing; a space between two numbers parts them. */
function squeeze(text: string): string {
  return text.replace(/(?<!\d)\s+|\s+(?!\d)|\$|\\[,;:! ]|\\left|\\right/g, '');
}

/** "1000,99" for 1000.99: one comma as the decimal mark, against the same digits with a point; the one of "1,000" groups. */
function decimalComma(a: string, b: string): boolean {
  const [left, right] = [a.replace(/[$\s]/g, ''), b.replace(/[$\s]/g, '')];
  if (!/^-?\d+[.,]\d+$/.test(left) || !/^-?\d+[.,]\d+$/.test(right)) return false;
  if ([left, right].some((text) => /^-?[1-9]\d{0,2},\d{3}$/.test(text))) return false;
  return left.includes(',') !== right.includes(',') && left.replace(',', '.') === right.replace(',', '.');
}
