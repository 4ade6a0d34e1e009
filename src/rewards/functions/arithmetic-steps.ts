/** Owns the check of arithmetic that a text states along its way, such as `3 * 4 = 12`. Judges no answer. */

import { exactArithmetic } from '../../util/arithmetic.ts';
import { absR, addR, compareR, negR, rational } from '../../util/rational.ts';

/** A stated equation of numbers and whether it holds. */
export interface ArithmeticStatement {
  /** As it stands in the text, spaces trimmed. */
  readonly left: string;
  readonly right: string;
  readonly holds: boolean;
}

/** Characters that a stated expression is made of. */
const OF_EXPRESSION = /[0-9.,+\-*/^() $×·÷−]/;
/** How far a statement may reach from its `=`. */
const REACH = 200;
/** Equals signs that are looked at; no completion that means something has as many. */
const MOST = 2000;

/**
 * Every `expression = expression` of numbers in a text of which one side has an operator, checked exactly. A decimal on the
 * right may be the left's value rounded to its digits. What does not read as numbers on both sides is left out, and so is all after 2,000 signs.
 */
export function arithmeticStatements(text: string): ArithmeticStatement[] {
  const plain = text
    .replace(/\\times|\\cdot/g, '*')
    .replace(/\\div/g, '/')
    .replace(/\\[,;! ]/g, ' ');
  const found: ArithmeticStatement[] = [];
  let looked = 0;
  for (let at = plain.indexOf('='); at >= 0 && looked++ < MOST; at = plain.indexOf('=', at + 1)) {
    if (/[<>!=:]/.test(plain[at - 1] ?? '') || plain[at + 1] === '=') continue;
    const statement = checked(leftOf(plain, at), rightOf(plain, at));
    if (statement !== null) found.push(statement);
  }
  return found;
}

/** The share of stated equations that hold; null where a text states none. */
export function arithmeticConsistency(text: string): number | null {
  const statements = arithmeticStatements(text);
  if (statements.length === 0) return null;
  return statements.filter(({ holds }) => holds).length / statements.length;
}

function checked(left: string, right: string): ArithmeticStatement | null {
  if (!hasOperator(left) && !hasOperator(right)) return null;
  const [own, claimed] = [exactArithmetic(left), exactArithmetic(right)];
  if (!own.ok || !claimed.ok) return null;
  const decimals = /^[\d,]*\.(\d+)$/.exec(right)?.[1]?.length ?? 0;
  const off = absR(addR(own.value, negR(claimed.value)));
  const allowed = decimals === 0 ? rational(0) : rational(1n, 2n * 10n ** BigInt(decimals));
  return { left, right, holds: compareR(off, allowed) <= 0 };
}

function hasOperator(text: string): boolean {
  return /[\d)] *[+\-*/^×·÷−]/.test(text);
}

/** Back to where no expression can begin: a word, the end of a sentence, a list's mark. */
function leftOf(text: string, at: number): string {
  let start = at;
  while (start > Math.max(0, at - REACH) && OF_EXPRESSION.test(text[start - 1]!)) start--;
  const run = text.slice(start, at);
  const listed = start === 0 || text[start - 1] === '\n' ? run.replace(/^ *(?:[-*]|\d+[.)]) +/, '') : run;
  return tidy(listed.split(/[.,] /).at(-1)!);
}

function rightOf(text: string, at: number): string {
  let end = at + 1;
  while (end < Math.min(text.length, at + REACH) && OF_EXPRESSION.test(text[end]!)) end++;
  // A percent sign or a letter behind a number makes it another number.
  const run = text.slice(at + 1, end).split(/[.,](?: |$)/)[0]!;
  return tidy(/^[%^\\]/.test(text.slice(end)) ? '' : run.replace(/[ (]+$/, ''));
}

function tidy(text: string): string {
  return text.replaceAll('$', '').trim();
}
