/**
 * Owns how a search for 24 is written as a chain of thought, in the formats of LLM4Game24: v3 with expressions, v2 with
 * values only, v1 without the lines that go back. Searches nothing.
 */

import { formatFraction } from '../util/fraction.ts';
import type { SearchTerm, SearchTree } from './game24-search.ts';

/** The three formats. */
export const SEARCH_FORMATS = ['v1', 'v2', 'v3'] as const;

/** Named by what a state shows: see the file's head. */
export type SearchFormat = (typeof SEARCH_FORMATS)[number];

/** What stands before the answer in the last line. */
const ANSWER = 'reach 24! expression: ';

/** Every character of prompts and completions in these formats. */
export const searchAlphabet: readonly string[] = [
  ...new Set(`0123456789+-*/()=,:! \nroll back, left ${ANSWER}`),
].sort();

/**
 * The completion for a search of which `kept` says what is told. A step is `(a) + (b) = c, left: ` and the numbers left,
 * the new one first; a failure ends with `roll back, left: ` and what was there before; the last line has the expression.
 */
export function writeSearch(
  { numbers, nodes }: SearchTree,
  kept: readonly boolean[],
  format: SearchFormat,
): string {
  const lines: string[] = [];
  const shown = (index: number): string =>
    index < 0 ? numbers.join(' ') : nodes[index]!.state.map((term) => entry(term, format)).join(', ');
  // Going on elsewhere closes every failure that is still open, from the inside out.
  const open: number[] = [];
  const closeUpTo = (parent: number): void => {
    while (open.length > 0 && open.at(-1) !== parent) {
      const failed = open.pop()!;
      if (format !== 'v1') lines.push(`roll back, left: ${shown(nodes[failed]!.parent)}`);
    }
  };
  let answer = '';
  nodes.forEach((node, i) => {
    if (!kept[i]) return;
    closeUpTo(node.parent);
    const [a, b, c] = [node.left, node.right, node.state[0]!].map(({ value }) => formatFraction(value));
    lines.push(`(${a}) ${node.operator} (${b}) = ${c}, left: ${shown(i)}`);
    open.push(i);
    if (node.solving && node.state.length === 1) answer = node.state[0]!.text;
  });
  return [...lines, `${ANSWER}${answer}`].join('\n');
}

/** The expression behind the last `expression:` of a completion's last line; null without one. */
export function searchAnswer(completion: string): string | null {
  const last = completion.slice(completion.lastIndexOf('\n') + 1);
  const at = last.lastIndexOf('expression:');
  return at < 0 ? null : last.slice(at + 'expression:'.length).trim();
}

/** Whether every line of a completion is a step, a way back or, at its end alone, an expression. */
export function keepsSearchFormat(completion: string): boolean {
  const lines = completion.split('\n');
  return (
    searchAnswer(completion) !== null &&
    lines
      .slice(0, -1)
      .every((line) => /^(?:roll back|\([^()]*\) [-+*/] \([^()]*\) = [^,]*), left: ./.test(line))
  );
}

/**
 * How many tokens Qwen2.5's tokenizer makes of a prompt or completion in these formats, without it: its splitting rule
 * leaves pieces that are all one token each. Other texts need the tokenizer.
 */
export function searchTokens(text: string): number {
  return text.match(/ ?[A-Za-z]+|\d| ?[^\sA-Za-z\d]+\n*|\n+| /g)?.length ?? 0;
}

function entry({ value, text }: SearchTerm, format: SearchFormat): string {
  const written = formatFraction(value);
  return format === 'v3' && text.startsWith('(') ? `${text} = ${written}` : written;
}
