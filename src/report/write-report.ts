/** Owns putting report.html and report.md into a run directory. Reads files only; no process need be alive. */

import { join } from 'node:path';
import { writeFileAtomic } from '../util/files.ts';
import { readExtras } from './extras.ts';
import { htmlReport } from './html.ts';
import { markdownReport } from './markdown.ts';
import { type RunData, readRun } from './read-run.ts';

/** What {@link writeReport} wrote. */
export interface WrittenReport {
  readonly htmlPath: string;
  readonly markdownPath: string;
  /** What the reports show, for the terminal's own. */
  readonly run: RunData;
}

/** Reads a run directory and writes report.html and report.md into it, each in one step. Summary.json is not needed. */
export function writeReport(runDirectory: string): WrittenReport {
  const run = readRun(runDirectory);
  const htmlPath = join(runDirectory, 'report.html');
  const markdownPath = join(runDirectory, 'report.md');
  const extras = readExtras(run);
  writeFileAtomic(htmlPath, htmlReport(run, extras));
  writeFileAtomic(markdownPath, markdownReport(run, extras));
  return { htmlPath, markdownPath, run };
}
