/** Owns the verdicts that need no worker: plain numbers, and profiles that only compare strings. Linear in the text. */

import { formatR, isInteger, rational } from '../../util/rational.ts';
import { extractAnswer, MAX_TEXT } from './extract.ts';
import type { Graded } from './graded.ts';
import { type GradeRow, judge } from './judge.ts';

/** A whole number, decimal or fraction as people and LaTeX write it; at most 60 characters are looked at. */
const PLAIN =
  /^[\s$]*(?:\\\$)?\s*([-+]?)\s*\$?(?:([1-9]\d{0,2}(?:,\d{3})+|\d+)?(?:\.(\d+))?|(\d+)\s*\/\s*(\d+)|\\[dt]?frac\{(\d+)\}\{(\d+)\})\s*\.?[\s$]*$/;
const MAX_PLAIN = 60;
const INLINE_PROFILES = new Set(['gsm8k-strict', 'gsm8k-flexible', 'hendrycks']);
const HURRIED = Symbol('a parse would be needed');

/** The verdict where plain numbers decide it, or where the profile only compares strings; else null. */
export function gradeInline(row: GradeRow): Graded | null {
  const { profile = 'default', extract = 'prediction' } = row.options;
  if (INLINE_PROFILES.has(profile)) return judge(row);
  const [reference] = row.references;
  if (profile !== 'default' || extract === 'both' || reference === undefined || row.references.length > 1)
    return null;
  const expected = plainNumber(reference);
  if (expected === null) return null;
  const answer = extract === 'none' ? row.prediction : quickAnswer(row.prediction);
  const found = answer === null ? null : plainNumber(answer);
  return found === null ? null : verdict(answer!, found, expected);
}

/** The answer by the default order where no text has to be parsed to find it; else null. */
function quickAnswer(text: string): string | null {
  if (plainNumber(text) !== null) return text;
  try {
    return extractAnswer(text.slice(-MAX_TEXT), (candidate) => {
      if (plainNumber(candidate) !== null) return true;
      throw HURRIED;
    });
  } catch (error) {
    if (error === HURRIED) return null;
    throw error;
  }
}

interface Plain {
  /** In lowest terms, as text: `-7/2`, `14916`. */
  readonly value: string;
  readonly whole: boolean;
}

function plainNumber(text: string): Plain | null {
  if (text.length > MAX_PLAIN) return null;
  const match = PLAIN.exec(text);
  if (match === null) return null;
  const [, sign, whole, decimals, top = match[6], bottom = match[7]] = match;
  const minus = sign === '-' ? '-' : '';
  if (top !== undefined && bottom !== undefined) return fractionOf(minus, top, bottom);
  if (whole === undefined && decimals === undefined) return null;
  const digits = (whole ?? '0').replaceAll(',', '').replace(/^0+(?=\d)/, '');
  const places = (decimals ?? '').replace(/0+$/, '');
  if (places === '') return { value: digits === '0' ? '0' : minus + digits, whole: true };
  return fractionOf(minus, digits + places, `1${'0'.repeat(places.length)}`);
}

function fractionOf(minus: string, top: string, bottom: string): Plain | null {
  if (BigInt(bottom) === 0n) return null;
  const value = rational(BigInt(top), BigInt(bottom));
  return { value: value.p === 0n ? '0' : minus + formatR(value), whole: isInteger(value) };
}

/** Equal numbers are decided, and so are a whole number and another number; decimals may still be a rounding. */
function verdict(extracted: string, found: Plain, expected: Plain): Graded | null {
  const forms = { extracted, prediction: found.value, reference: expected.value };
  if (found.value === expected.value) return { verdict: 'correct', score: 1, reason: 'exact', ...forms };
  if (!found.whole && !expected.whole) return null;
  return { verdict: 'incorrect', score: 0, reason: 'different', ...forms };
}
