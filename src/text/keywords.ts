/** Owns finding keywords in text, with their places. Knows no language. */

import type { Span } from './segments.ts';

export interface KeywordOptions {
  readonly caseSensitive?: boolean | undefined;
  /** Only where no letter or digit touches the word; default true. */
  readonly wholeWords?: boolean | undefined;
}

/** A keyword where it stands. */
export interface KeywordSpan extends Span {
  /** The keyword as it was asked for. */
  readonly keyword: string;
}

/** Every place of every keyword, by place and then by length, longest first; places may overlap. */
export function keywordSpans(
  text: string,
  keywords: readonly string[],
  { caseSensitive = false, wholeWords = true }: KeywordOptions = {},
): KeywordSpan[] {
  const found: KeywordSpan[] = [];
  for (const keyword of new Set(keywords)) {
    if (keyword === '') continue;
    const pattern = new RegExp(keyword.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&'), caseSensitive ? 'gu' : 'giu');
    for (const match of text.matchAll(pattern)) {
      const [start, end] = [match.index, match.index + match[0].length];
      if (wholeWords && (isWord(text, start - 1, start) || isWord(text, end, end - 1))) continue;
      found.push({ keyword, text: match[0], start, end });
    }
  }
  return found.sort((a, b) => a.start - b.start || b.end - a.end);
}

/** Whether the character outside goes on with the word that the one inside belongs to. */
function isWord(text: string, outside: number, inside: number): boolean {
  const letter = /[\p{L}\p{M}\p{N}_]/u;
  // Scripts without spaces between words have no word's edge.
  const together = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}]/u;
  const [out, within] = [text[outside] ?? '', text[inside] ?? ''];
  return letter.test(out) && letter.test(within) && !(together.test(out) || together.test(within));
}
