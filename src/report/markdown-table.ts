/** Owns a table in Markdown. Knows nothing of reports. */

import { escapeMarkdown } from './escape.ts';

/** A pipe table; the first `leftColumns` columns are left-aligned, the others right. */
export function markdownTable(rows: readonly (readonly string[])[], leftColumns = 1): string {
  const [header = [], ...body] = rows;
  const line = (cells: readonly string[]): string => `| ${cells.map(escapeMarkdown).join(' | ')} |`;
  const rule = header.map((_, column) => (column < leftColumns ? ':--' : '--:'));
  return [line(header), `| ${rule.join(' | ')} |`, ...body.map(line)].join('\n');
}
