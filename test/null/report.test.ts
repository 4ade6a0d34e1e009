import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Evaluation, writeEvaluation } from '../../src/evaluate/evaluation.ts';
import { niceRange, niceTicks, rangeOf, smoothed, thinned } from '../../src/report/chart-math.ts';
import { type ChartSpec, chartFile, lineChart, MARGIN } from '../../src/report/charts.ts';
import { CURVE_METRICS, heldOutChart, stageCharts } from '../../src/report/curves.ts';
import { escapeHtml, escapeMarkdown, fencedBlock } from '../../src/report/escape.ts';
import { placeOfCheckpoint } from '../../src/report/lineage.ts';
import { readRun } from '../../src/report/read-run.ts';
import { chosenTranscripts, costTable, repeatCommand } from '../../src/report/results.ts';
import { makeSummary, readSummary, writeSummary } from '../../src/report/summary.ts';
import { terminalReport } from '../../src/report/terminal.ts';
import { writeReport } from '../../src/report/write-report.ts';
import { isMetricName } from '../../src/track/metric-names.ts';
import { MetricsWriter } from '../../src/track/metrics.ts';

const EVIL = '<script>alert("1")</script> ```` & <img src="https://evil.example/x.png">\u001b[2J';

function evaluation(label: string, checkpoint: string, correct: number): Evaluation {
  const ids = Array.from({ length: 10 }, (_, i) => `p${i}`);
  const interval = { mean: correct / 10, low: correct / 20, high: Math.min(1, correct / 5) };
  return {
    version: 1,
    label,
    checkpoint,
    task: 'game24',
    split: 'test',
    seed: 1,
    samplesPerProblem: 8,
    temperature: 1,
    n: 10,
    passAt1: interval,
    passAt8: label === 'sft' ? null : interval,
    format: { mean: 1, low: 1, high: 1 },
    lengthMean: 50,
    unverifiable: 0,
    stopReasons: { eos: 80, stop: 0, length: 0, aborted: 0 },
    seconds: 5,
    problems: ids.map((id) => ({ id, question: id, samples: 8, correct, formatOk: 8, unverifiable: 0 })),
    transcripts: ids.map((id) => ({
      problemId: id,
      question: `question of ${id}`,
      completion: `${label} says ${EVIL}`,
      verdict: 'incorrect',
      reason: 'no-answer',
      stopReason: 'eos',
    })),
  };
}

let folder = '';
let run = '';

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'reckon-report-'));
  run = join(folder, 'tiny run');
  for (const part of ['00-prepare', '02-sft', '10-grpo', 'evaluations'])
    mkdirSync(join(run, part), { recursive: true });
  writeFileSync(
    join(run, 'recipe.yaml'),
    'name: tiny <run>\nseed: 7\ntask: {name: game24}\nmodel: {init: {layers: 2}}\n',
  );
  writeFileSync(
    join(run, 'environment.json'),
    '{"node": "v20", "cpu": {"flags": ["avx2", "amx"], "threads": 2}}',
  );
  writeFileSync(join(run, '02-sft', 'stage.json'), '{"version": 1, "status": "done"}');
  writeFileSync(join(run, '10-grpo', 'stage.json'), '{torn');
  writeSteps('02-sft', 40);
  writeSteps('10-grpo', 20);
  const place = (stage: string, step: string): string => `${stage}/checkpoints/step-${step}`;
  for (const [label, checkpoint, correct] of [
    ['grpo', place('10-grpo', '000020'), 6],
    ['untrained', place('00-prepare', '000000'), 0],
    ['sft', place('02-sft', '000040'), 3],
  ] as const) {
    writeEvaluation(join(run, 'evaluations', `${label}.json`), evaluation(label, checkpoint, correct));
  }
  writeFileSync(join(run, 'evaluations', 'broken.json'), '{"version": 1}');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function writeSteps(stage: string, steps: number): void {
  using writer = MetricsWriter.open(join(run, stage, 'metrics.jsonl'));
  for (let step = 1; step <= steps; step++) {
    const loss = step === 3 ? Number.NaN : 1 / step;
    const reward = stage === '02-sft' ? {} : { 'reward/mean': 0.5, 'reward/brevity': 0.1, 'policy/kl': null };
    writer.write(step, { loss, 'batch/tokens': 100, 'time/step_s': 0.5, ...reward });
  }
}

describe('chart numbers', () => {
  it('ticks are round and inside, ranges end on ticks', () => {
    expect(niceTicks([0, 1])).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(niceTicks([-0.3, 0.31])).toEqual([-0.2, 0, 0.2]);
    expect(niceTicks([1, 3], 6, 1)).toEqual([1, 2, 3]);
    expect(niceRange([0.13, 0.87])).toEqual([0, 1]);
    expect(niceRange([2.1, 4.9])).toEqual([2, 5]);
  });

  it('ranges skip what is not finite and open up where all is one', () => {
    expect(rangeOf([3, Number.NaN, 1, Number.POSITIVE_INFINITY])).toEqual([1, 3]);
    expect(rangeOf([])).toEqual([0, 1]);
    expect(rangeOf([0, 0])).toEqual([-1, 1]);
    expect(rangeOf([-5])).toEqual([-5.5, -4.5]);
  });

  it('smoothing keeps a constant, skips gaps and needs enough points', () => {
    const points = Array.from({ length: 50 }, (_, x) => ({ x, y: x === 9 ? Number.NaN : 4 }));
    const smooth = smoothed(points);
    expect(smooth).toHaveLength(49);
    for (const { y } of smooth) expect(y).toBeCloseTo(4, 12);
    expect(smoothed(points.slice(0, 19))).toEqual([]);
    const line = Array.from({ length: 60 }, (_, x) => ({ x, y: 3 - x / 20 }));
    for (const [i, { y }] of smoothed(line).entries()) expect(y).toBeCloseTo(line[i]!.y, 10);
  });

  it('thinning keeps the spikes', () => {
    const points = Array.from({ length: 10_000 }, (_, x) => ({ x, y: x === 5003 ? 9 : x === 777 ? -9 : 0 }));
    const kept = thinned(points, 1000);
    expect(kept.length).toBeLessThanOrEqual(1001);
    expect(kept.map((point) => point.x)).toEqual(expect.arrayContaining([777, 5003]));
    expect(kept.every((point, i) => i === 0 || point.x > (kept[i - 1]?.x ?? 0))).toBe(true);
  });
});

describe('line charts', () => {
  const base = { title: 'T', xLabel: 'step', width: 200, height: 200 };
  const chart = (ys: readonly number[], more: Partial<ChartSpec> = {}): string =>
    lineChart({ ...base, series: [{ label: 's', points: ys.map((y, x) => ({ x, y })) }], ...more });
  const paths = (svg: string): string[] =>
    [...svg.matchAll(/<path class="line[^"]*" d="([^"]*)"/g)].map((m) => m[1] ?? '');
  const [left, right, top, bottom] = [MARGIN.left, 200 - MARGIN.right, MARGIN.top, 200 - MARGIN.bottom];

  it('puts known data at known places', () => {
    const middle = (left + right) / 2;
    const svg = chart([0, 1, 0.5], { yRange: [0, 1] });
    expect(paths(svg)).toEqual([`M${left},${bottom}L${middle},${top}L${right},${(top + bottom) / 2}`]);
    expect(svg).toContain('aria-label="T by step: s from 0 to 0.5"');
  });

  it('draws the band of an interval and moves the plot down for legend and boundaries', () => {
    const points = [0, 1].map((x) => ({ x, y: 0.5, low: 0, high: 1 }));
    const band = lineChart({ ...base, yRange: [0, 1], series: [{ label: 's', points, markers: true }] });
    expect(band).toContain(
      `<path class="band" d="M${left},${top}L${right},${top}L${right},${bottom}L${left},${bottom}Z"/>`,
    );
    expect(band.match(/<circle/g)).toHaveLength(2);
    const boundaries = [{ x: 1, label: 'grpo' }];
    const two = [0, 1].map((i) => ({ label: `series ${i}`, points }));
    const svg = lineChart({ ...base, yRange: [0, 1], series: two, boundaries });
    expect(paths(svg)).toHaveLength(2);
    expect(svg).toContain(`d="M${left},${top + 51 + 40}`);
    expect(svg).toContain('>grpo</text>');
  });

  it.each([
    ['empty', []],
    ['only NaN', [Number.NaN, Number.POSITIVE_INFINITY]],
    ['one point', [3]],
    ['constant', [0, 0, 0]],
    ['constant and tiny', Array.from({ length: 30 }, () => 1e-300)],
    ['huge', [1e300, -1e300]],
    ['gaps', [1, Number.NaN, 2, 3, Number.NEGATIVE_INFINITY]],
  ])('does not break on a series that is %s', (_name, ys) => {
    for (const more of [{}, { percent: true }]) {
      const svg = chart(ys, more);
      expect(svg).not.toMatch(/NaN|Infinity|undefined/);
      expect(svg.startsWith('<svg') && svg.endsWith('</svg>')).toBe(true);
    }
  });

  it('says that there is no data, dots a lonely point and breaks the line at a gap', () => {
    expect(chart([])).toContain('no data');
    expect(chart([3]).match(/<circle/g)).toHaveLength(1);
    const gap = chart([1, Number.NaN, 2, 3]);
    expect(paths(gap)[0]?.match(/M/g)).toHaveLength(1);
    expect(gap.match(/<circle/g)).toHaveLength(1);
  });

  it('smooths over the raw points, and stands alone as a file', () => {
    const points = Array.from({ length: 30 }, (_, x) => ({ x, y: x % 2 }));
    const spec: ChartSpec = { ...base, series: [{ label: 'a<b', points, smooth: true }] };
    expect(lineChart(spec)).toContain('<path class="raw"');
    expect(lineChart(spec)).toContain('a&lt;b');
    expect(chartFile(spec)).toMatch(/^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" .*<style>/);
  });
});

describe('escaping', () => {
  it('leaves no markup in HTML, no cell end in Markdown and no way out of a fence', () => {
    expect(escapeHtml(`<a b='c'>&"\u0000`)).toBe('&lt;a b=&#39;c&#39;&gt;&amp;&quot;\ufffd');
    expect(escapeMarkdown('a|b\n<i>')).toBe('a\\|b \\<i\\>');
    expect(fencedBlock('x\n```` y')).toBe('`````text\nx\n```` y\n`````');
  });
});

describe('a run directory', () => {
  it('is read in pipeline order, and what cannot be read is said', () => {
    const data = readRun(run);
    expect(data.name).toBe('tiny <run>');
    expect(
      data.stages.map((stage) => [stage.folder, stage.name, stage.status, stage.metrics.length]),
    ).toEqual([
      ['00-prepare', 'prepare', 'unknown', 0],
      ['02-sft', 'sft', 'done', 40],
      ['10-grpo', 'grpo', 'unknown', 20],
    ]);
    expect(data.evaluations.map((each) => each.label)).toEqual(['untrained', 'sft', 'grpo']);
    expect(data.environment.get('cpu.flags')).toBe('avx2, amx');
    expect(data.notes).toHaveLength(2);
    expect(data.notes.join()).toMatch(/10-grpo\/stage.json.*evaluations\/broken.json/);
    expect(repeatCommand(data)).toBe(`npx reckon run '${run}/recipe.yaml' --name ${data.name}-again`);
    expect(() => readRun(join(folder, 'none'))).toThrow(/found nothing at/);
  });

  it('charts only metrics that exist, and the parts of the reward', () => {
    expect(CURVE_METRICS.filter((name) => !isMetricName(name))).toEqual([]);
    const data = readRun(run);
    const grpo = data.stages[2];
    const charts = grpo === undefined ? [] : stageCharts(grpo);
    expect(charts.map((chart) => chart.title)).toEqual(['Loss', 'Reward']);
    expect(charts[1]?.series.map((series) => series.label)).toEqual(['mean', 'brevity']);
    const heldOut = heldOutChart(data);
    expect(heldOut?.series[0]?.points.map(({ x, y }) => [x, y])).toEqual([
      [0, 0],
      [40, 0.3],
      [60, 0.6],
    ]);
    expect(heldOut?.series[1]?.points).toHaveLength(2);
    expect(heldOut?.boundaries).toEqual([
      { x: 0, label: 'sft' },
      { x: 40, label: 'grpo' },
    ]);
    const best = { folder: '02-sft', step: 40 };
    expect(placeOfCheckpoint('02-sft/best/checkpoints/step-000040')).toEqual(best);
    expect(placeOfCheckpoint('model')).toBeUndefined();
  });

  it('adds up what it cost', () => {
    expect(costTable(readRun(run)).slice(1)).toEqual([
      ['02-sft', '40', '4.0 k', '20.0 s'],
      ['10-grpo', '20', '2.0 k', '10.0 s'],
      ...['untrained', 'sft', 'grpo'].map((label) => [`evaluation ${label}`, '', '4.0 k', '5.0 s']),
      ['together', '', '18.0 k', '45.0 s'],
    ]);
  });

  it('takes transcripts by place from the last evaluation', () => {
    const ids = chosenTranscripts(readRun(run).evaluations).map((transcript) => transcript.problemId);
    expect(ids).toEqual(['p1', 'p5', 'p8']);
  });
});

describe('the reports', () => {
  it('the page loads nothing and shows model text as text', () => {
    const html = readFileSync(writeReport(run).htmlPath, 'utf8');
    expect(html).not.toMatch(/<script|<img|<link|<iframe|@import|url\(/i);
    expect(html.match(/<[^>]*\b(?:src|href|srcset|data|action)\s*=/gi)).toBeNull();
    expect(html.replaceAll('https://evil.example', '')).not.toMatch(/https?:/);
    expect(html).toContain("default-src 'none'");
    expect(html).toContain('grpo says &lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;');
    expect(html).toContain('tiny &lt;run&gt;');
    for (const found of [
      '60.0 % [30.0, 100.0]',
      'Answer of sft',
      'Held-out problems',
      'v20',
      'could not be read',
    ]) {
      expect(html).toContain(found);
    }
    for (const tag of ['svg', 'section', 'article', 'details', 'table', 'pre', 'div', 'g', 'text']) {
      const count = (pattern: string): number => html.match(new RegExp(pattern, 'g'))?.length ?? 0;
      expect([tag, count(`<${tag}[ >]`)]).toEqual([tag, count(`</${tag}>`)]);
    }
  });

  it('Markdown and terminal show the same table, without control characters', () => {
    const written = writeReport(run);
    const markdown = readFileSync(written.markdownPath, 'utf8');
    expect(markdown).toContain('| grpo | test | 10 | 60.0 % \\[30.0, 100.0\\] |');
    expect(markdown).toContain('`````text\ngrpo says');
    const text = terminalReport(written.run);
    expect(text).toContain('pass@1: 0.0 % untrained → 30.0 % sft → 60.0 % grpo');
    expect(text).toMatch(/^sft +test +10 +30\.0 % \[15\.0, 60\.0\] +– /m);
    expect(text.match(/\[incorrect: no-answer\]/g)).toHaveLength(3);
    expect(markdown + text).not.toContain('\u001b');
    expect(terminalReport(written.run, (style, part) => `<${style}>${part}`)).toContain('<red>[incorrect');
  });

  it('an empty run directory still gives a report that says so', () => {
    const empty = join(folder, 'empty');
    mkdirSync(empty);
    const { htmlPath, run: data } = writeReport(empty);
    expect(readFileSync(htmlPath, 'utf8')).toContain('There is no evaluation yet.');
    expect(terminalReport(data)).toContain('recipe.yaml is missing.');
  });
});

describe('summary.json', () => {
  it('holds the numbers of each evaluation and reads back', () => {
    const summary = makeSummary({ task: 'game24', seed: 7, seconds: 12.345 }, readRun(run).evaluations);
    const path = writeSummary(run, summary);
    expect(readSummary(path)).toEqual(summary);
    expect(summary.seconds).toBe(12.3);
    expect(Object.keys(summary.heldOut)).toEqual(['untrained', 'sft', 'grpo']);
    expect(summary.heldOut['grpo']).toEqual({
      'pass@1': 0.6,
      'pass@8': 0.6,
      format: 1,
      n: 10,
      intervals: { 'pass@1': [0.3, 1], 'pass@8': [0.3, 1], format: [1, 1] },
    });
    expect(summary.heldOut['sft']?.intervals['pass@8']).toBeNull();
  });

  it('reads the committed sample of version 1 and names a file that is none', () => {
    const sample = fileURLToPath(new URL('samples/summary-v1.json', import.meta.url));
    expect(readSummary(sample).heldOut['grpo']?.['pass@1']).toBe(0.61);
    const bad = join(folder, 'bad.json');
    writeFileSync(bad, '{"version": 2}');
    expect(() => readSummary(bad)).toThrow(`${bad}: expected a summary of version 1`);
  });
});
