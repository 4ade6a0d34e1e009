/** Owns report.html: one file that opens without a network and prints well. Refuses to read files. */

import type { Transcript } from '../evaluate/evaluation.ts';
import { formatNumber } from '../util/format.ts';
import { CHART_STYLE, lineChart } from './charts.ts';
import { heldOutChart, stageCharts } from './curves.ts';
import { escapeHtml } from './escape.ts';
import { NO_EXTRAS, type ReportExtras } from './extras.ts';
import type { RunData, RunStage } from './read-run.ts';
import {
  chosenTranscripts,
  costCaption,
  costTable,
  earlierAnswers,
  headline,
  repeatCommand,
  resultsCaption,
  resultsTable,
  settingSentence,
  transcriptsCaption,
  verdictText,
} from './results.ts';
import type { RolloutLine } from './rollouts.ts';
import { type Block, openingSections, resultSections, type Section, trainingSections } from './sections.ts';
import { SHADING_STYLE, shadedTokens } from './shading.ts';

const PAGE_STYLE = `
:root{color-scheme:light dark;--bg:#fff;--ink:#1f2328;--soft:#59636e;--line:#d6dbe1;--card:#f6f8fa;--good:#00694d;--bad:#a83e00;--unsure:#7a5400}
@media (prefers-color-scheme:dark){@media not print{:root{--bg:#0f1318;--ink:#e6edf3;--soft:#9da7b3;--line:#2f3742;--card:#171c23;--good:#2fc99a;--bad:#f0843c;--unsure:#e6b450}}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:1000px;padding:32px 24px 64px;background:var(--bg);color:var(--ink);font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
h1{font-size:26px;line-height:1.25;margin:0 0 8px}h2{font-size:19px;margin:44px 0 12px;padding-bottom:6px;border-bottom:1px solid var(--line)}h3{font-size:15px;margin:24px 0 10px}
p{margin:8px 0 14px}.soft{color:var(--soft);font-size:13.5px}.headline{font-size:18px;font-weight:600}
.wide{overflow-x:auto;background:linear-gradient(90deg,var(--bg) 40%,transparent) 0/32px 100% no-repeat local,linear-gradient(270deg,var(--bg) 40%,transparent) 100%/32px 100% no-repeat local,linear-gradient(90deg,var(--line),transparent) 0/12px 100% no-repeat,linear-gradient(270deg,var(--line),transparent) 100%/12px 100% no-repeat}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px;margin:8px 0}
th,td{padding:6px 14px 6px 0;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}th{color:var(--soft);font-weight:600}
th:first-child,td:first-child{text-align:left}td.name{font-weight:600}.facts th{text-align:left}.facts td{text-align:left;white-space:normal;overflow-wrap:anywhere;vertical-align:top}.facts td:first-child{white-space:nowrap;color:var(--soft)}
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:12px 14px;margin:8px 0;overflow-x:auto;white-space:pre-wrap;overflow-wrap:anywhere;font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,420px),1fr));gap:22px 28px}.charts svg,.wide svg{width:100%;height:auto;display:block}.hero{max-width:720px;margin:20px 0}.wide svg{min-width:560px}
.verdict{font-size:13px;font-weight:600}.correct{color:var(--good)}.incorrect{color:var(--bad)}.unverifiable{color:var(--unsure)}
td.prose{text-align:left;white-space:normal;min-width:180px;overflow-wrap:anywhere}th.prose{text-align:left}details{margin:6px 0}summary{cursor:pointer;color:var(--soft);font-size:13.5px}
`;

/**
 * On paper: nothing scrolls, so tables wrap; rows, charts and headings stay whole and long tables and texts go on over the
 * page; settings stand in two columns; of folded parts the recipe is printed, and answers of earlier models only where opened.
 */
const PRINT_STYLE = `
@page{size:A4;margin:15mm 14mm 17mm;@bottom-right{content:counter(page) " / " counter(pages);font:8pt system-ui,sans-serif;color:#59636e}}
@media print{
body{max-width:none;padding:0;font-size:9.5pt;line-height:1.4}h1{font-size:18pt}h2{font-size:13pt;margin:22px 0 8px}h3{font-size:10pt;margin:12px 0 6px}
.headline{font-size:11.5pt}.soft,.verdict,summary{font-size:8.5pt}p{margin:4px 0 8px;orphans:3;widows:3}
h2,h3,summary{break-after:avoid}tr,.charts svg,.hero{break-inside:avoid}thead{display:table-header-group}.soft:has(+.transcript){break-after:avoid}
.wide{overflow:visible;background:none}.wide+.wide{margin-top:12px}table{font-size:8pt;max-width:100%}th,td{padding:3px 8px 3px 0}th{white-space:normal}.many{font-size:6.8pt}.many td,.many th{padding-right:5px}td.prose{white-space:normal}td.prose,th.prose{min-width:0}
.wide:has(>.facts){columns:2;column-gap:24px}.wide:has(>.facts.few){columns:1}.facts{width:100%;margin:0}
pre{font-size:8pt;line-height:1.35;padding:6px 8px;border-color:#ccc;-webkit-box-decoration-break:clone;box-decoration-break:clone;orphans:4;widows:4}
.charts{grid-template-columns:1fr 1fr;gap:8px 14px}.hero,.wide svg{max-width:100%;min-width:0}
.transcript details:not([open]){display:none}.appendix::details-content{content-visibility:visible;display:block;height:auto}.appendix summary{list-style:none}.appendix pre{columns:3;column-gap:16px;font-size:6.5pt;line-height:1.25}
}
`;

/** The page may load nothing: everything that it shows is in it. */
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/** The whole report.html of a run, with what was read beside it. */
export function htmlReport(run: RunData, extras: ReportExtras = NO_EXTRAS): string {
  const more = (sections: readonly Section[]): string[] => sections.map((one) => moreSection(one, extras));
  const parts = [
    results(run),
    ...more(openingSections(run, extras)),
    ...more(resultSections(run, extras)),
    transcripts(run),
    curves(run.stages),
    ...more(trainingSections(run)),
    cost(run),
    environment(run),
    repeat(run),
    missing([...run.notes, ...extras.notes]),
  ];
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(run.name)} - reckon report</title>
<style>${PAGE_STYLE}${CHART_STYLE}${SHADING_STYLE}${PRINT_STYLE}</style>
</head>
<body>
<h1>${escapeHtml(run.name)}</h1>
<p>${escapeHtml(settingSentence(run))}</p>
<main>
${parts.filter((part) => part !== '').join('\n')}
</main>
</body>
</html>
`;
}

function section(title: string, ...parts: readonly string[]): string {
  return `<section>\n<h2>${escapeHtml(title)}</h2>\n${parts.filter((part) => part !== '').join('\n')}\n</section>`;
}

function moreSection({ title, blocks }: Section, extras: ReportExtras): string {
  return section(title, ...blocks.map((block) => blockHtml(block, extras)));
}

function blockHtml(block: Block, { shaded }: ReportExtras): string {
  if (block.kind === 'text') return soft(block.text);
  if (block.kind === 'table')
    return table(block.rows, block.rows[0]?.length === 2 ? factsClass(block.rows) : '');
  if (block.kind === 'chart') return `<div class="wide hero">${lineChart(block.spec)}</div>`;
  if (block.kind === 'tree') return `<pre class="tree">${escapeHtml(block.text)}</pre>`;
  return rolloutArticle(block.title, block.line, shaded.get(block.line));
}

/** On paper many short facts stand in two columns; few, or long ones, in one. */
function factsClass(rows: readonly (readonly string[])[]): string {
  const few = rows.length < 12 || rows.some((row) => (row[1] ?? '').length > PROSE_FROM);
  return few ? ' class="facts few"' : ' class="facts"';
}

function rolloutArticle(
  title: string,
  line: RolloutLine,
  tokens: Parameters<typeof shadedTokens>[0] | undefined,
): string {
  const said =
    tokens === undefined
      ? `<pre>${escapeHtml(line.completion)}</pre>`
      : shadedTokens(tokens, line.tokenRewardKind);
  const parts = Object.entries(line.parts).map(([name, value]) => `${name} ${formatNumber(value)}`);
  const why = [verdictText(line), `ended by ${line.stopReason}`, ...parts].join('; ');
  const verdict = `<div class="verdict ${escapeHtml(line.verdict)}">${escapeHtml(why)}</div>`;
  return `<article class="transcript">\n<h3>${escapeHtml(title)}</h3>${said}${verdict}\n</article>`;
}

function soft(text: string): string {
  return `<p class="soft">${escapeHtml(text)}</p>`;
}

function results(run: RunData): string {
  const chart = heldOutChart(run);
  return section(
    'Results',
    `<p class="headline">${escapeHtml(headline(run)).replaceAll(' %', '\u00a0%')}</p>`,
    run.evaluations.length > 0 ? table(resultsTable(run.evaluations)) : '',
    soft(resultsCaption(run.evaluations)),
    chart === undefined ? '' : `<div class="wide hero">${lineChart(chart)}</div>`,
  );
}

function transcripts(run: RunData): string {
  const chosen = chosenTranscripts(run.evaluations).map((transcript) => {
    const earlier = earlierAnswers(run.evaluations, transcript.problemId).map(
      (answer) =>
        `<details><summary>Answer of ${escapeHtml(answer.label)}</summary>${answerBlock(answer.transcript)}</details>`,
    );
    const title = `<h3>${escapeHtml(transcript.question)}</h3>`;
    return `<article class="transcript">\n${title}${answerBlock(transcript)}${earlier.join('')}\n</article>`;
  });
  return section('Transcripts', soft(transcriptsCaption(run.evaluations)), ...chosen);
}

function answerBlock(transcript: Transcript): string {
  const { completion, verdict, stopReason } = transcript;
  const why = `${verdictText(transcript)}; ended by ${stopReason}`;
  return `<pre>${escapeHtml(completion)}</pre><div class="verdict ${escapeHtml(verdict)}">${escapeHtml(why)}</div>`;
}

function curves(stages: readonly RunStage[]): string {
  const parts = stages.flatMap((stage) => {
    const charts = stageCharts(stage);
    if (charts.length === 0) return [];
    const title = `<h3>${escapeHtml(stage.folder)} <span class="soft">${escapeHtml(stage.status)}</span></h3>`;
    return [`${title}\n<div class="charts">\n${charts.map(lineChart).join('\n')}\n</div>`];
  });
  if (parts.length === 0) return section('Training', soft('No training stage has written metrics.'));
  return section('Training', soft('Faint: each step. Strong: a centred moving average.'), ...parts);
}

function cost(run: RunData): string {
  return section('Cost', table(costTable(run)), soft(costCaption(run)));
}

function repeat(run: RunData): string {
  const recipe =
    run.recipeText === undefined
      ? ''
      : `<details class="appendix"><summary>The resolved recipe</summary><pre>${escapeHtml(run.recipeText)}</pre></details>`;
  return section('Repeat it', `<pre>${escapeHtml(repeatCommand(run))}</pre>`, recipe);
}

function environment(run: RunData): string {
  if (run.environment.size === 0) return '';
  const rows = [...run.environment].map(
    ([key, value]) => `<tr><td>${escapeHtml(key)}</td><td>${escapeHtml(value)}</td></tr>`,
  );
  return section(
    'Environment',
    `<div class="wide"><table class="facts"><tbody>${rows.join('')}</tbody></table></div>`,
  );
}

function missing(notes: readonly string[]): string {
  if (notes.length === 0) return '';
  return section('Notes', `<ul>${notes.map((note) => `<li>${escapeHtml(note)}</li>`).join('')}</ul>`);
}

/** Cells of more characters wrap, and their column begins at the left. */
const PROSE_FROM = 40;

function table(rows: readonly (readonly string[])[], attributes = ''): string {
  const [header = [], ...body] = rows;
  const prose = header.map((_, column) => body.some((row) => (row[column] ?? '').length > PROSE_FROM));
  const classOf = (column: number, first: string): string => {
    const name = column === 0 ? first : prose[column] === true ? 'prose' : '';
    return name === '' ? '' : ` class="${name}"`;
  };
  const head = header.map((cell, column) => `<th scope="col"${classOf(column, '')}>${escapeHtml(cell)}</th>`);
  const lines = body.map((row) => {
    const cells = row.map((cell, column) => `<td${classOf(column, 'name')}>${escapeHtml(cell)}</td>`);
    return `<tr>${cells.join('')}</tr>`;
  });
  const many = attributes === '' && header.length > 8 ? ' class="many"' : attributes;
  return `<div class="wide"><table${many}><thead><tr>${head.join('')}</tr></thead><tbody>\n${lines.join('\n')}\n</tbody></table></div>`;
}
