/** Owns the format rewards of published trainers, each as its code has it, under the name of its source. */

import { occurrences } from '../../text/tags.ts';

/** TRL's `think_format_reward`: begins with `<think>`, which does not come again, and closes it. */
export function trlThinkFormat(text: string): number {
  const closed = text.indexOf('</think>', 7) >= 0;
  return Number(text.startsWith('<think>') && closed && text.indexOf('<think>', 7) < 0);
}

/** open-r1's `format_reward`: think and answer on lines of their own, and the last tag at the end of a line. */
export function openR1Format(text: string): number {
  const answer = openR1Answer(text);
  return Number(answer !== null && closesAtLineEnd(answer, 0));
}

/** open-r1's `code_format_reward`: its format with a fenced block of the language inside the answer. */
export function openR1CodeFormat(text: string, language = 'python'): number {
  const answer = openR1Answer(text);
  if (answer === null) return 0;
  const open = `\`\`\`${language}`;
  const start = answer.indexOf(open);
  const end = start < 0 ? -1 : answer.indexOf('```', start + open.length);
  return Number(end >= 0 && closesAtLineEnd(answer, end + 3));
}

/** open-r1's `tag_count_reward`: a quarter for each tag that stands once with its line ends. */
export function openR1TagCount(text: string): number {
  const tags = ['<think>\n', '\n</think>\n', '\n<answer>\n', '\n</answer>'];
  return tags.filter((tag) => occurrences(text, tag) === 1).length / 4;
}

/** open-r1's `reasoning_steps_reward`: a third for each mark of a step, 1 at most. */
export function openR1ReasoningSteps(text: string): number {
  const marks = text.match(/Step \d+:|^\d+\.|\n-|\n\*|First,|Second,|Next,|Finally,/g);
  return Math.min(1, (marks?.length ?? 0) / 3);
}

/** NeMo-RL's `format_reward`: 0.25 for a pair of think tags, 0.75 for a pair of answer tags, in any order. */
export function nemoRlFormat(text: string, think = 'think', answer = 'answer'): number {
  const pair = (name: string): boolean => {
    const open = text.indexOf(`<${name}>`);
    return open >= 0 && text.lastIndexOf(`</${name}>`) >= open + name.length + 2;
  };
  return (pair(think) ? 0.25 : 0) + (pair(answer) ? 0.75 : 0);
}

/** verifiers' ThinkParser: begins with `<think>`, has each tag once, and says something after it. */
export function verifiersThinkFormat(text: string): number {
  const once = occurrences(text, '<think>') === 1 && occurrences(text, '</think>') === 1;
  return Number(once && text.trim().startsWith('<think>') && !text.endsWith('</think>'));
}

const BETWEEN = '\n</think>\n<answer>\n';

/** What follows `<answer>` and its line end where the text begins as open-r1 wants it. */
function openR1Answer(text: string): string | null {
  const open = '<think>\n';
  if (!text.startsWith(open)) return null;
  const at = text.indexOf(BETWEEN, open.length);
  return at < 0 ? null : text.slice(at + BETWEEN.length);
}

function closesAtLineEnd(text: string, from: number): boolean {
  const close = '\n</answer>';
  for (let at = text.indexOf(close, from); at >= 0; at = text.indexOf(close, at + 1)) {
    const after = text[at + close.length];
    if (after === undefined || after === '\n') return true;
  }
  return false;
}
