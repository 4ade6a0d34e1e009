/** Owns report.md: the results and transcripts of a run as Markdown. Refuses to draw and to read files. */

import { escapeMarkdown, fencedBlock } from './escape.ts';
import type { RunData } from './read-run.ts';
import {
  chosenTranscripts,
  costTable,
  headline,
  repeatCommand,
  resultsCaption,
  resultsTable,
  settingSentence,
  transcriptsCaption,
} from './results.ts';

/** The whole report.md of a run. */
export function markdownReport(run: RunData): string {
  const transcripts = chosenTranscripts(run.evaluations).flatMap((transcript) => [
    `### ${escapeMarkdown(transcript.question)}`,
    fencedBlock(transcript.completion),
    `Verdict: **${transcript.verdict}** (${escapeMarkdown(transcript.reason)}); ended by ${transcript.stopReason}.`,
  ]);
  const environment = [...run.environment].map(([key, value]) => [key, value]);
  const blocks = [
    `# ${escapeMarkdown(run.name)}`,
    escapeMarkdown(settingSentence(run)),
    '## Results',
    `**${escapeMarkdown(headline(run.evaluations))}**`,
    ...(run.evaluations.length > 0 ? [markdownTable(resultsTable(run.evaluations))] : []),
    escapeMarkdown(resultsCaption(run.evaluations)),
    '## Transcripts',
    escapeMarkdown(transcriptsCaption(run.evaluations)),
    ...transcripts,
    '## Cost',
    markdownTable(costTable(run)),
    '## Repeat it',
    fencedBlock(repeatCommand(run)),
    ...(environment.length > 0
      ? ['## Environment', markdownTable([['what', 'value'], ...environment], 2)]
      : []),
    ...(run.notes.length > 0
      ? ['## Missing', run.notes.map((note) => `- ${escapeMarkdown(note)}`).join('\n')]
      : []),
  ];
  return `${blocks.join('\n\n')}\n`;
}

/** A pipe table; the first `leftColumns` columns are left-aligned, the others right. */
export function markdownTable(rows: readonly (readonly string[])[], leftColumns = 1): string {
  const [header = [], ...body] = rows;
  const line = (cells: readonly string[]): string => `| ${cells.map(escapeMarkdown).join(' | ')} |`;
  const rule = header.map((_, column) => (column < leftColumns ? ':--' : '--:'));
  return [line(header), `| ${rule.join(' | ')} |`, ...body.map(line)].join('\n');
}
