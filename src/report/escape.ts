/** Owns making any text safe inside HTML, SVG and Markdown; knows nothing of what the text says. */

import { printable } from '../util/format.ts';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text for an element or a quoted attribute: it stays text whatever it holds. Control characters become U+FFFD. */
export function escapeHtml(text: string): string {
  return printable(text).replace(/[&<>"']/g, (found) => ENTITIES[found] ?? '');
}

/** Text for a Markdown table's cell: one line, nothing in it is markup. */
export function escapeMarkdown(text: string): string {
  return printable(text)
    .replace(/[\\`*_{}[\]<>#|~&]/g, (found) => `\\${found}`)
    .replace(/[\n\t]/g, ' ');
}

/** A fenced code block whose fence is longer than any run of backticks in the text. */
export function fencedBlock(text: string): string {
  const runs = text.match(/`+/g) ?? [];
  const fence = '`'.repeat(Math.max(3, ...runs.map((run) => run.length + 1)));
  return `${fence}text\n${printable(text)}\n${fence}`;
}
