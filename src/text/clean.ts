/** Owns the cleaning of text before it is read by rules: spaces, look-alike signs, marks. Changes no meaning, knows no task. */

export interface CleanOptions {
  /** One space for every run of spaces and line ends; else runs of spaces within lines alone. Default false. */
  readonly oneLine?: boolean | undefined;
  /** Mathematical signs as they are typed: `×` as `*`, `÷` as `/`, `²` as `^2`, `½` as `1/2`. Default false. */
  readonly plainMath?: boolean | undefined;
  /** Takes out what is no letter, mark, number, space or one of `. , ! ? ; : ( ) -`. Default false. */
  readonly wordsOnly?: boolean | undefined;
}

const SIGNS: Readonly<Record<string, string>> = {
  '×': '*',
  '·': '*',
  '⋅': '*',
  '÷': '/',
  '−': '-',
  '–': '-',
  '＝': '=',
  '≤': '<=',
  '≥': '>=',
  '≠': '!=',
  '²': '^2',
  '³': '^3',
  '¼': '1/4',
  '½': '1/2',
  '¾': '3/4',
};

/**
 * Text without control characters and invisible marks, line ends as `\n`, no space at the ends of lines, at most one empty
 * line in a row; cleaning twice changes nothing more.
 */
export function cleanText(
  text: string,
  { oneLine = false, plainMath = false, wordsOnly = false }: CleanOptions = {},
): string {
  let cleaned = text
    .replace(/\r\n?|\u2028|\u2029/g, '\n')
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
    .replace(/[\u0000-\u0008\u000e-\u001f\u007f\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]/g, '');
  if (plainMath) cleaned = cleaned.replace(/[×·⋅÷−–＝≤≥≠²³¼½¾]/g, (sign) => SIGNS[sign]!);
  if (wordsOnly) cleaned = cleaned.replace(/[^\p{L}\p{M}\p{N}\s.,!?;:()-]/gu, '');
  if (oneLine) return words(cleaned).join(' ');
  const lines = cleaned.split('\n').map((line) => words(line, /[^\S\n]+/).join(' '));
  const kept = lines.filter((line, i) => line !== '' || (i > 0 && lines[i - 1] !== ''));
  return kept.join('\n').replace(/^\n|\n$/g, '');
}

function words(text: string, space: RegExp = /\s+/): string[] {
  return text.split(space).filter((word) => word !== '');
}
