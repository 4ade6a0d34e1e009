/** Owns the small profiles: GSM8K strict and flexible, hendrycks, boxed tags, the seeds' unified extraction, Math-Verify's manner. */

import { type AnswerComparison, compareAnswerTexts } from '../answer.ts';
import { boxesIn, lastBoxes } from '../extract.ts';
import { normaliseAnswer } from './normalise.ts';

/** The number behind the last `####`, written with digits, points and commas; null without one. */
export function extractGsm8kStrict(text: string): string | null {
  const matches = [...text.matchAll(/#### (-?[0-9.,]+)/g)];
  const last = matches.at(-1)?.[1];
  return last === undefined ? null : last.replaceAll(',', '').replaceAll('$', '');
}

/** The last run of digits, points and commas that is more than a point; a lone point where nothing else is there. */
export function extractGsm8kFlexible(text: string): string | null {
  const runs = text.match(/-?[0-9.,]+/g);
  if (runs === null) return null;
  return runs.findLast((run) => run !== '.') ?? runs[0]!;
}

/** Numbers of GSM8K: equal as exact decimals without commas, dollars and a point at the end. */
export function equalGsm8k(answer: string, reference: string): boolean {
  return plainNumber(answer) === plainNumber(reference);
}

function plainNumber(text: string): string {
  const bare = text.replace(/[,$%\s]/g, '').replace(/\.$/, '');
  const match = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(bare);
  if (!match) return bare;
  const [, sign, whole = '', fraction = ''] = match;
  let places = fraction.length;
  while (fraction[places - 1] === '0') places--;
  const decimals = fraction.slice(0, places);
  const digits = `${whole.replace(/^0+/, '') || '0'}${decimals === '' ? '' : `.${decimals}`}`;
  return sign === '-' && /[1-9]/.test(digits) ? `-${digits}` : digits;
}

/** hendrycks/math: the last box, compared as strings in its own normal form. */
export function extractHendrycks(text: string): string | null {
  const last = boxesIn(text).at(-1);
  return last?.answer ?? (text.includes('\\boxed') ? null : text);
}

export function equalHendrycks(answer: string, reference: string): boolean {
  return normaliseAnswer(answer, 'hendrycks') === normaliseAnswer(reference, 'hendrycks');
}

/** Seed 4's format: 0 without paired tags, a half without a box in the answer, 1 with both; and the boxed answer. */
export function scoreBoxedTag(completion: string): { score: 0 | 0.5 | 1; answer: string | null } {
  const thought = paired(completion, 'think');
  const answered = paired(completion, 'answer');
  const ordered = thought !== null && answered !== null && thought.end <= answered.start;
  if (!ordered) return { score: 0, answer: null };
  const box = lastBoxes(completion.slice(answered.start, answered.end));
  return box === null ? { score: 0.5, answer: null } : { score: 1, answer: box.answer };
}

/** One pair of tags, opened and then closed; null where they do not pair. */
function paired(text: string, tag: string): { start: number; end: number } | null {
  const [opens, closes] = [text.split(`<${tag}>`).length - 1, text.split(`</${tag}>`).length - 1];
  const start = text.indexOf(`<${tag}>`);
  const end = text.indexOf(`</${tag}>`);
  return opens === 1 && closes === 1 && start < end ? { start, end } : null;
}

const UNIFIED = [
  /####\s*(-?\d+\.?\d*)/g,
  /\\boxed\{(-?\d+(?:\.\d*)?)\}/g,
  /[Aa]nswer[:：]?\s*(-?\d+\.?\d*)/g,
  /[Tt]he answer is\s*(-?\d+\.?\d*)/g,
];

/** Seeds 0 and 1: `####`, a boxed number, "answer", "the answer is", the last number where a word promises one. */
export function extractUnified(text: string): string | null {
  for (const pattern of UNIFIED) {
    const last = [...text.matchAll(pattern)].at(-1)?.[1];
    if (last !== undefined) return last;
  }
  if (!/answer|final|结果|答案是|conclusion/i.test(text)) return null;
  return text.match(/-?\d+\.?\d*/g)?.at(-1) ?? null;
}

/**
 * In the manner of Math-Verify under TRL's accuracy reward: the prediction must be boxed, boxes close to one another
 * are one set, and a reference that is neither a number nor in LaTeX marks cannot be read.
 */
export function gradeLikeMathVerify(
  prediction: string,
  reference: string,
): AnswerComparison & { extracted: string | null } {
  const truth = mathVerifyReference(reference);
  const extracted = nearBoxes(prediction);
  if (truth === null)
    return { equal: null, reason: 'unreadable-reference', prediction: null, reference: null, extracted };
  if (extracted === null)
    return { equal: false, reason: 'no-answer', prediction: null, reference: null, extracted };
  return { ...compareAnswerTexts(extracted, truth), extracted };
}

function mathVerifyReference(reference: string): string | null {
  if (/\\boxed|\$|\\\(|\\\[/.test(reference)) return nearBoxes(reference) ?? reference;
  const number = /[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:[.,]\d+)?%?/.exec(reference)?.[0];
  if (number === undefined || /[()[\]\\]/.test(reference)) return null;
  // A comma that groups no thousands is a decimal mark there.
  return /,\d{3}(?!\d)/.test(number) ? number : number.replace(',', '.');
}

const NEAR = 15;

function nearBoxes(text: string): string | null {
  const boxes = boxesIn(text);
  const answers: string[] = [];
  for (let i = boxes.length - 1; i >= 0; i--) {
    if (answers.length > 0 && boxes[i + 1]!.start - boxes[i]!.end > NEAR) break;
    answers.unshift(boxes[i]!.answer);
  }
  return answers.length === 0 ? null : answers.join(', ');
}
