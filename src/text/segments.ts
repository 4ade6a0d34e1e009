/** Owns the cutting of text into sentences, paragraphs and steps, each with its place. Knows no tokenizer and no task. */

/** A piece of a text: `text.slice(start, end)`, in UTF-16 code units. */
export interface Span {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** Abbreviations after which a sentence goes on. */
const ABBREVIATIONS = new Set('mr mrs ms dr prof st vs etc e.g i.e eq fig no approx resp cf'.split(' '));

/**
 * The sentences of a text. A sentence ends with `.`, `!`, `?` or their CJK forms and their quotes and brackets, or with an
 * empty line; not with the point of a number (3.14), of an initial, of a known abbreviation, or of a list's mark (`1.`).
 */
export function sentences(text: string): Span[] {
  return paragraphs(text).flatMap(({ text: paragraph, start }) => {
    const found: Span[] = [];
    let from = 0;
    for (let i = 0; i < paragraph.length; i++) {
      if (!'.!?。！？'.includes(paragraph[i]!) || !endsSentence(paragraph, from, i)) continue;
      let end = i + 1;
      while (end < paragraph.length && '.!?。！？"\'”’)]}»'.includes(paragraph[end]!)) end++;
      pushSpan(found, paragraph, from, end, start);
      from = end;
      i = end - 1;
    }
    pushSpan(found, paragraph, from, paragraph.length, start);
    return found;
  });
}

/** The paragraphs of a text: what empty lines separate. */
export function paragraphs(text: string): Span[] {
  const found: Span[] = [];
  let from: number | null = null;
  let at = 0;
  for (const line of text.split('\n')) {
    if (line.trim() === '') {
      if (from !== null) pushSpan(found, text, from, at, 0);
      from = null;
    } else from ??= at;
    at += line.length + 1;
  }
  if (from !== null) pushSpan(found, text, from, text.length, 0);
  return found;
}

const STEP_MARK =
  /^\s*(?:#{1,6}\s*)?(?:\*\*)?(?:(?:step|part|case)\s+\d{1,4}\b|\d{1,4}[.)](?!\d)|[-*•]\s|(?:first|firstly|second|secondly|third|next|then|therefore|thus|so|hence|finally|now|lastly)\b)/i;

/**
 * The steps of a worked solution: from each line that begins with a mark (`Step 2:`, `3.`, `- `, `Then`, `Therefore`) to the
 * next; where no line has one, each line is a step. What stands before the first mark is a step of its own.
 */
export function steps(text: string): Span[] {
  const starts: number[] = [];
  const lines: number[] = [];
  let at = 0;
  for (const line of text.split('\n')) {
    lines.push(at);
    if (STEP_MARK.test(line.slice(0, 200))) starts.push(at);
    at += line.length + 1;
  }
  const cuts = starts.length === 0 ? lines : [0, ...starts];
  const found: Span[] = [];
  cuts.forEach((start, i) => {
    pushSpan(found, text, start, cuts[i + 1] ?? text.length, 0);
  });
  return found;
}

function endsSentence(text: string, from: number, at: number): boolean {
  if (text[at] !== '.') return true;
  const next = text[at + 1];
  if (next !== undefined && !/[\s"'”’)\]}»]/.test(next)) return false;
  const before = text.slice(Math.max(from, at - 20), at);
  if (/^\s*\d{1,4}$/.test(before) && text.slice(from, at).trim() === before.trim()) return false;
  const word = /[\p{L}.]{1,20}$/u.exec(before)?.[0] ?? '';
  return !(ABBREVIATIONS.has(word.toLowerCase()) || /^\p{Lu}$/u.test(word));
}

/** Adds a piece without the space around it, unless nothing is left. */
function pushSpan(into: Span[], text: string, from: number, to: number, offset: number): void {
  const piece = text.slice(from, to);
  const trimmed = piece.trim();
  if (trimmed === '') return;
  const start = offset + from + piece.indexOf(trimmed);
  into.push({ text: trimmed, start, end: start + trimmed.length });
}
