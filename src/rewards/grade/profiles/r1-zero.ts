/** Owns the judging of A5's r1_zero and question-only reward functions, fast and slow. Knows no worker. */

import { TooLarge } from '../../../util/rational.ts';
import { compareAnswerTexts } from '../answer.ts';
import { afterHashes, balanced } from '../extract.ts';
import { parseAnswer } from '../parser.ts';
import { compareScalars } from '../scalar.ts';
import { Unreadable } from '../tokens.ts';
import {
  finish,
  floatOf,
  normaliseAnswer,
  orUnchanged,
  withoutGrouping,
  withoutSigns,
  withoutText,
} from './normalise.ts';

/** Format and answer as that function scores them: only formatted and right earns the reward. */
export interface R1ZeroScore {
  readonly format: 0 | 1;
  readonly answer: 0 | 1;
  readonly extracted: string | null;
}

/** The literal `</think> <answer>`, one space, and a closing tag; then what follows the last opening tag. */
export function scoreR1Zero(completion: string, reference: string, fast: boolean): R1ZeroScore {
  if (!completion.includes('</think> <answer>') || !completion.includes('</answer>'))
    return { format: 0, answer: 0, extracted: null };
  const tagged = completion.split('<answer>').at(-1)!.replaceAll('</answer>', '');
  const extracted = tagged.includes('\\boxed') ? markedAnswer(tagged) : tagged;
  if (extracted === null) return { format: 1, answer: 0, extracted };
  return { format: 1, answer: gradeA5(extracted, reference, fast) ? 1 : 0, extracted };
}

/** The last box, or what follows the last `####`; no format where there is neither. */
export function scoreQuestionOnly(completion: string, reference: string, fast: boolean): R1ZeroScore {
  const extracted = markedAnswer(completion);
  if (extracted === null) return { format: 0, answer: 0, extracted };
  return { format: 1, answer: gradeA5(extracted, reference, fast) ? 1 : 0, extracted };
}

function markedAnswer(text: string): string | null {
  const marker = text.lastIndexOf('\\boxed');
  if (marker < 0) return afterHashes(text)?.answer ?? null;
  return text[marker + 6] === '{' ? rawGroup(text, marker + 6) : null;
}

/** The group with its spaces, as the reference has it. */
function rawGroup(text: string, at: number): string | null {
  const group = balanced(text, at);
  return group === null ? null : text.slice(at + 1, group.end - 1);
}

/** Equal by the mathd rules, or by PRM800K's with algebra; the slow form also by LaTeX semantics. */
function gradeA5(answer: string, reference: string, fast: boolean): boolean {
  const truth = /\\boxed|####/.test(reference) ? markedAnswer(reference) : reference;
  if (truth === null) return false;
  if (normaliseMathd(answer) === normaliseMathd(truth) || equalBySympyRules(answer, truth)) return true;
  return !fast && compareAnswerTexts(answer, truth).equal === true;
}

/** The mathd rules of understand-r1-zero: hendrycks' with matrices, relations and the units of MathQA beside them. */
function normaliseMathd(answer: string): string {
  return orUnchanged(answer.trim(), (whole) => {
    let text = withoutText(whole).trim().replaceAll('\n', '').replaceAll('\\!', '').replaceAll('\\\\', '\\');
    text = text
      .replace(/\\begin\{array\}\{[^{}]*\}/g, '\\begin{pmatrix}')
      .replaceAll('\\end{array}', '\\end{pmatrix}')
      .replaceAll('bmatrix', 'pmatrix');
    text = text
      .replaceAll('tfrac', 'frac')
      .replaceAll('dfrac', 'frac')
      .replaceAll('\\neq', '\\ne')
      .replaceAll('\\leq', '\\le')
      .replaceAll('\\geq', '\\ge');
    text = text.replaceAll('\\left', '').replaceAll('\\right', '');
    text = withoutLastText(text);
    text = withoutUnits(withoutUnits(text));
    return finish(withoutSigns(text));
  });
}

/** `\text{...}` at the end is a unit where something stands before it. */
function withoutLastText(text: string): string {
  if (!text.endsWith('}')) return text;
  const start = text.indexOf('\\text{');
  const rest = start < 0 ? '' : text.slice(0, start).trim();
  return rest === '' ? text : rest;
}

const MATHQA_UNITS =
  'east|degree|mph|kmph|ft|m sqaure| m east|sq m|deg|mile|q .|monkey|prime|ratio|profit of rs|rd|o|gm|p . m|lb|tile|per|dm|lt|gain|ab|way|west|a .|b .|c .|d .|e .|f .|g .|h .|t|a|h|no change|men|soldier|pie|bc|excess|st|inches|noon|percent|by|gal|kmh|c|acre|rise|a . m|th|π r 2|sq|mark|l|toy|coin|sq . m|gallon|° f|profit|minw|yr|women|feet|am|pm|hr|cu cm|square|are|rupee|rounds|cubic|cc|mtr|s|ohm|number|kmph|day|hour|minute|min|second|man|woman|sec|cube|mt|sq inch|mp|hectare|more|sec|unit|cu . m|cm 2|rs .|rs|kg|g|month|km|m|cm|mm|apple|liter|loss|yard|pure|year|increase|decrease|d|less|Surface|litre|pi sq m|s .|metre|meter|inch'.split(
    '|',
  );
const UNIT_PATTERNS = [...MATHQA_UNITS, ...MATHQA_UNITS.map((unit) => `${unit}s`)].map(
  (unit) => [unit.replace(/ ?\..*$/, ''), new RegExp(`(^|\\W)${unit}($|\\W)`, 'gu')] as const,
);

function withoutUnits(answer: string): string {
  let text = answer;
  if (!/[a-zA-Zπ]/.test(text)) return text;
  for (const [needle, pattern] of UNIT_PATTERNS) {
    if (!text.includes(needle)) continue;
    const rest = text.replace(pattern, '$1$2');
    if (rest !== '') text = rest;
  }
  return text;
}

/** PRM800K: equal strings, or tuples element by element; fractions must be reduced, whole references need whole answers. */
function equalBySympyRules(answer: string, truth: string): boolean {
  const [given, expected] = [normaliseAnswer(answer, 'prm800k'), normaliseAnswer(truth, 'prm800k')];
  if (given === expected) return true;
  if (given === '') return false;
  const [left, right] = [splitTuple(given), splitTuple(expected)];
  if (right.length > 1 && (expected[0] !== given[0] || expected.at(-1) !== given.at(-1))) return false;
  if (left.length !== right.length) return false;
  return left.every((element, i) => {
    const other = right[i]!;
    if (isPlainFraction(element) && isPlainFraction(other)) return element === other;
    if (isWhole(element) !== isWhole(other)) return false;
    return equalByAlgebra(other, element);
  });
}

/** The elements of a tuple or interval without brackets inside; else the whole text. Commas between thousands go. */
export function splitTuple(answer: string): string[] {
  const text = withoutGrouping(answer);
  if (text === '') return [];
  const inner = text.slice(1, -1);
  const brackets = '()[]';
  const tuple =
    text.length > 2 &&
    brackets.includes(text[0]!) &&
    brackets.includes(text.at(-1)!) &&
    ![...inner].some((character) => brackets.includes(character));
  return tuple ? inner.split(',').map((part) => part.trim()) : [text];
}

function isPlainFraction(text: string): boolean {
  return /^-?[0-9]+.?\/0*[1-9][0-9]*.?$/.test(text);
}

function isWhole(text: string): boolean {
  const value = floatOf(withoutGrouping(text));
  return value !== null && Math.abs(value - Math.round(value)) <= 1e-7;
}

/** The difference is zero, where that grader would try it: two letters at most, no bracketed or long exponents. */
function equalByAlgebra(a: string, b: string): boolean {
  const difference = `(${a})-(${b})`;
  const letters = new Set(
    [...difference.replaceAll('sqrt', '').replaceAll('frac', '')].filter((character) =>
      /\p{L}/u.test(character),
    ),
  );
  if (letters.size > 2 || difference.includes('^{') || difference.includes('^(')) return false;
  if (/\^[0-9]+\^|\^[0-9][0-9]+/.test(difference)) return false;
  try {
    // An inexact decimal is never the simplified zero of a root, so agreement that is only rounded does not count.
    const { equal, reason } = compareScalars(parseAnswer(a, false), parseAnswer(b, false));
    return equal === true && reason !== 'rounded';
  } catch (error) {
    if (error instanceof Unreadable || error instanceof TooLarge || error instanceof RangeError) return false;
    throw error;
  }
}
