/** Owns the letter that a text names as the answer of a multiple-choice question (MMLU's form). Knows no question. */

/** The letter behind the last "correct answer is", of the first `choices` of the alphabet; null where there is none. */
export function choiceLetter(text: string, choices = 4): string | null {
  const letters = [...text.matchAll(/\bcorrect answer is:?\s{0,3}\(?([A-Z])\b/gi)].map(
    ([, letter]) => letter!,
  );
  const letter = letters.at(-1);
  if (letter === undefined || letter !== letter.toUpperCase()) return null;
  return letter.charCodeAt(0) - 'A'.charCodeAt(0) < choices ? letter : null;
}
