/** Owns the results as plain text, printed at the end of a run. Writes to no stream. */

import type { Transcript } from '../evaluate/evaluation.ts';
import { formatTable, type Painter, printable, wrapText } from '../util/format.ts';
import type { RunData } from './read-run.ts';
import {
  chosenTranscripts,
  headline,
  resultsCaption,
  resultsTable,
  transcriptsCaption,
  verdictText,
} from './results.ts';

const PLAIN: Painter = (_style, text) => text;
const MOST_LINES = 30;

/** Table and three transcripts as lines of text, ending in a newline; with `paint` the verdicts are coloured. */
export function terminalReport(run: RunData, paint: Painter = PLAIN): string {
  const blocks = [paint('bold', headline(run))];
  if (run.evaluations.length > 0) {
    blocks.push(
      formatTable(resultsTable(run.evaluations), ['left', 'left']),
      paint('dim', wrapText(resultsCaption(run.evaluations))),
    );
  }
  const transcripts = chosenTranscripts(run.evaluations);
  if (transcripts.length > 0) blocks.push(paint('dim', wrapText(transcriptsCaption(run.evaluations))));
  blocks.push(...transcripts.map((transcript) => transcriptText(transcript, paint)));
  blocks.push(...run.notes.map((note) => paint('yellow', `Note: ${printable(note)}`)));
  return `${blocks.join('\n\n')}\n`;
}

function transcriptText(transcript: Transcript, paint: Painter): string {
  const style =
    transcript.verdict === 'correct' ? 'green' : transcript.verdict === 'incorrect' ? 'red' : 'yellow';
  const verdict = paint(style, `[${printable(verdictText(transcript))}]`);
  const lines = printable(transcript.completion).trimEnd().split('\n');
  const shown = lines.slice(0, MOST_LINES);
  if (lines.length > shown.length) shown.push(`... ${lines.length - shown.length} more lines`);
  const title = printable(transcript.question).replaceAll('\n', ' ');
  return [`${paint('bold', title)}  ${verdict}`, ...shown.map((line) => `  ${line}`)].join('\n');
}
