/**
 * Puts the table and the charts of a finished run into this folder: `npx tsx recipes/compare-algorithms/write-readme.ts
 * [runs/compare-algorithms] [processor]`. Owns the places of the README that are written by machine, and measures nothing itself.
 */

import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeSeedsReport } from '../../src/report/index.ts';

const here = dirname(fileURLToPath(import.meta.url));
const readme = join(here, 'README.md');
const [BEGIN, END] = ['<!-- results, written by write-readme.ts -->', '<!-- end of results -->'];

const { markdown, chartPaths } = writeSeedsReport(
  process.argv[2] ?? 'runs/compare-algorithms',
  process.argv[3] === 'processor' ? 'processor' : 'wall',
);
const images = chartPaths.map((path) => `![${basename(path, '.svg')}](${basename(path)})`).join('\n\n');
for (const path of chartPaths) copyFileSync(path, join(here, basename(path)));
const text = readFileSync(readme, 'utf8');
const [before, rest] = [text.slice(0, text.indexOf(BEGIN)), text.slice(text.indexOf(END))];
writeFileSync(readme, `${before}${BEGIN}\n\n${images}\n\n${markdown}\n\n${rest}`);
