/** Owns report.md: the results and transcripts of a run as Markdown. Refuses to draw and to read files. */

import { escapeMarkdown, fencedBlock } from './escape.ts';
import { NO_EXTRAS, type ReportExtras } from './extras.ts';
import { markdownTable } from './markdown-table.ts';
import type { RunData } from './read-run.ts';
import {
  chosenTranscripts,
  costCaption,
  costTable,
  headline,
  repeatCommand,
  resultsCaption,
  resultsTable,
  settingSentence,
  transcriptsCaption,
} from './results.ts';
import { type Block, openingSections, resultSections, type Section, trainingSections } from './sections.ts';

/** The whole report.md of a run, with what was read beside it. */
export function markdownReport(run: RunData, extras: ReportExtras = NO_EXTRAS): string {
  const notes = [...run.notes, ...extras.notes];
  const transcripts = chosenTranscripts(run.evaluations).flatMap((transcript) => [
    `### ${escapeMarkdown(transcript.question)}`,
    fencedBlock(transcript.completion),
    verdictSentence(transcript),
  ]);
  const environment = [...run.environment].map(([key, value]) => [key, value]);
  const blocks = [
    `# ${escapeMarkdown(run.name)}`,
    escapeMarkdown(settingSentence(run)),
    '## Results',
    `**${escapeMarkdown(headline(run))}**`,
    ...(run.evaluations.length > 0 ? [markdownTable(resultsTable(run.evaluations))] : []),
    escapeMarkdown(resultsCaption(run.evaluations)),
    ...openingSections(run, extras).flatMap(sectionBlocks),
    ...resultSections(run, extras).flatMap(sectionBlocks),
    '## Transcripts',
    escapeMarkdown(transcriptsCaption(run.evaluations)),
    ...transcripts,
    ...trainingSections(run).flatMap(sectionBlocks),
    '## Cost',
    markdownTable(costTable(run)),
    escapeMarkdown(costCaption(run)),
    ...(environment.length > 0
      ? ['## Environment', markdownTable([['what', 'value'], ...environment], 2)]
      : []),
    '## Repeat it',
    fencedBlock(repeatCommand(run)),
    ...(notes.length > 0 ? ['## Notes', notes.map((note) => `- ${escapeMarkdown(note)}`).join('\n')] : []),
  ];
  return `${blocks.join('\n\n')}\n`;
}

function sectionBlocks({ title, blocks }: Section): string[] {
  return [`## ${escapeMarkdown(title)}`, ...blocks.flatMap(blockTexts)];
}

function blockTexts(block: Block): string[] {
  if (block.kind === 'text') return [escapeMarkdown(block.text)];
  if (block.kind === 'table') return [markdownTable(block.rows, block.rows[0]?.length === 2 ? 2 : 1)];
  if (block.kind === 'chart') return [];
  if (block.kind === 'tree') return [fencedBlock(block.text)];
  return [
    `### ${escapeMarkdown(block.title)}`,
    fencedBlock(block.line.completion),
    verdictSentence(block.line),
  ];
}

function verdictSentence({
  verdict,
  reason,
  stopReason,
}: Readonly<Record<'verdict' | 'reason' | 'stopReason', string>>): string {
  const why = verdict === reason ? '' : ` (${escapeMarkdown(reason)})`;
  return `Verdict: **${escapeMarkdown(verdict)}**${why}; ended by ${escapeMarkdown(stopReason)}.`;
}
