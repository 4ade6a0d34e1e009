/** Owns how far a completion keeps the tags and the box that it was asked for. Looks at no answer. */

import { braceEnds } from '../../text/braces.ts';
import { lastTagged, occurrences } from '../../text/tags.ts';

export interface TagOptions {
  /** The prompt has opened `<think>` already, so that the completion begins inside it. */
  readonly opened?: boolean | undefined;
}

/** 1 where the text is one `<think>...</think>` and one `<answer>...</answer>` with nothing but space around them, else 0. */
export function thinkAnswerFormat(text: string, { opened = false }: TagOptions = {}): number {
  const whole = opened ? `<think>${text}` : text;
  if (!isPaired(whole)) return 0;
  const between = whole.slice(whole.indexOf('</think>') + 8, whole.indexOf('<answer>'));
  const around = whole.slice(0, whole.indexOf('<think>')) + whole.slice(whole.indexOf('</answer>') + 9);
  return Number((between + around).trim() === '');
}

/** 0 where the tags are not paired, 0.5 where they are and the answer holds no `\boxed{}`, 1 where it does. */
export function boxedTagFormat(text: string, { opened = false }: TagOptions = {}): number {
  const whole = opened ? `<think>${text}` : text;
  if (!isPaired(whole)) return 0;
  return /\\boxed\s?\{/.test(lastTagged(whole, 'answer')!) ? 1 : 0.5;
}

/** 1 where the text's last `\boxed{` is closed, else 0: one that was cut off is no box, whatever stands before it. */
export function boxedFormat(text: string): number {
  const start = text.lastIndexOf('\\boxed{');
  return Number(start >= 0 && braceEnds(text).has(start + 6));
}

/** r1_zero's rule: 1 where `</think> <answer>`, with exactly one space, and `</answer>` occur, wherever, else 0. */
export function r1ZeroFormat(text: string): number {
  return Number(text.includes('</think> <answer>') && text.includes('</answer>'));
}

/** `r1ZeroFormat` with any space, or none, between the tags, and `</answer>` after them. */
export function r1ZeroFormatLenient(text: string): number {
  for (let at = text.indexOf('</think>'); at >= 0; at = text.indexOf('</think>', at + 8)) {
    const answer = text.indexOf('<answer>', at + 8);
    if (answer < 0) return 0;
    if (text.slice(at + 8, answer).trim() === '') return Number(text.includes('</answer>', answer + 8));
  }
  return 0;
}

/** Each of the four tags once and in order. */
function isPaired(text: string): boolean {
  const tags = ['<think>', '</think>', '<answer>', '</answer>'];
  const places = tags.map((tag) => (occurrences(text, tag) === 1 ? text.indexOf(tag) : -1));
  return places.every((place, i) => place >= 0 && (i === 0 || place > places[i - 1]!));
}
