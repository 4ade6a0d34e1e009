/** Owns the counting of prompts and completions that are longer than allowed. Cuts nothing. */

import type { Tokenizer } from '../text/index.ts';
import { encodeCompletion, encodePrompt } from './encode.ts';

/** A text with a name. */
export interface NamedText {
  readonly id: string;
  readonly text: string;
}

/** Lengths in tokens. */
export interface LengthReport {
  readonly count: number;
  readonly longest: number;
  readonly mean: number;
  /** The names of texts that are longer than allowed. */
  readonly tooLong: readonly string[];
}

/** The lengths of prompts, as they are encoded for a model, and which of them have more than `limit` tokens. */
export function promptLengths(
  tokenizer: Tokenizer,
  prompts: readonly NamedText[],
  limit: number,
): LengthReport {
  return lengths(prompts, limit, (text) => encodePrompt(tokenizer, text).length);
}

/** The lengths of completions to learn, eos included, and which of them have more than `limit` tokens. */
export function completionLengths(
  tokenizer: Tokenizer,
  completions: readonly NamedText[],
  limit: number,
): LengthReport {
  return lengths(completions, limit, (text) => encodeCompletion(tokenizer, text).length);
}

function lengths(
  texts: readonly NamedText[],
  limit: number,
  measure: (text: string) => number,
): LengthReport {
  let longest = 0;
  let sum = 0;
  const tooLong: string[] = [];
  for (const { id, text } of texts) {
    const length = measure(text);
    longest = Math.max(longest, length);
    sum += length;
    if (length > limit) tooLong.push(id);
  }
  return { count: texts.length, longest, mean: texts.length === 0 ? 0 : sum / texts.length, tooLong };
}
