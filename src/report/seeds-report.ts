/**
 * Owns the report of one recipe run with several seeds: every evaluation's spread, and the methods compared where a recipe
 * trains several from one start. Reads and writes files; runs nothing.
 */

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Evaluation } from '../evaluate/evaluation.ts';
import { writeFileAtomic } from '../util/files.ts';
import { formatCount, formatDuration, formatPercent } from '../util/format.ts';
import { mean, std } from '../util/statistics.ts';
import { type ChartPoint, niceRange, rangeOf } from './chart-math.ts';
import { type ChartSpec, chartFile } from './charts.ts';
import { markdownTable } from './markdown.ts';
import { type MethodPoint, type MethodResult, meanCurve, methodResults } from './methods.ts';
import { readRun } from './read-run.ts';

/** What {@link writeSeedsReport} wrote. */
export interface SeedsReport {
  readonly markdownPath: string;
  readonly markdown: string;
  /** The charts of the methods, empty where there are fewer than two to compare. */
  readonly chartPaths: readonly string[];
}

/** The runs of a folder that holds one recipe with several seeds, `seed-1` before `seed-10`; empty for other folders. */
export function seedRuns(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => /^seed-\d+$/.test(name) && existsSync(join(folder, name, 'recipe.yaml')))
    .sort((a, b) => Number(a.slice(5)) - Number(b.slice(5)))
    .map((name) => join(folder, name));
}

/** What a chart against time counts: seconds on the wall, or of the processor, which other work does not stretch. */
export type MethodClock = 'wall' | 'processor';

/** Writes seeds.md, and methods-tokens.svg and methods-time.svg where there are methods to compare. */
export function writeSeedsReport(folder: string, clock: MethodClock = 'wall'): SeedsReport {
  const runs = seedRuns(folder);
  const methods = methodResults(runs);
  const charts = methods.length < 2 ? [] : methodCharts(methods, clock);
  const chartPaths = charts.map(({ file, spec }) => {
    writeFileAtomic(join(folder, file), chartFile(spec));
    return join(folder, file);
  });
  const markdown = [
    ...(methods.length < 2 ? [] : [methodsMarkdown(methods)]),
    seedsMarkdown(runs.map((run) => readRun(run).evaluations)),
  ].join('\n\n');
  const markdownPath = join(folder, 'seeds.md');
  writeFileAtomic(markdownPath, `${markdown}\n`);
  return { markdownPath, markdown, chartPaths };
}

/** A table of methods, each compared with its start, and the sentence that says how. */
export function methodsMarkdown(methods: readonly MethodResult[]): string {
  const seeds = methods[0]!.runs.length;
  const first = methods[0]!.runs[0]!.end;
  const rows = methods.map((method) => [
    method.name,
    formatPercent(method.start),
    formatPercent(method.end),
    method.runs.map((run) => (100 * run.end.passAt1.mean).toFixed(1)).join(', '),
    points(method.gain),
    method.gain.low > 0 ? 'yes' : 'no',
    formatCount(Math.round(method.tokens)),
    formatDuration(method.seconds),
    formatDuration(method.cpuSeconds),
    String(Math.round(method.steps)),
  ]);
  const header = [
    'method',
    'start',
    'end',
    'each seed',
    'gain in points',
    'beats its start',
    'tokens',
    'time',
    'processor time',
    'steps',
  ];
  const caption =
    `pass@1 on ${first.n} held-out problems, ${first.samplesPerProblem} samples each at temperature ${first.temperature}; means over ${seeds} seeds. ` +
    `Gain: end less start with its 95 % paired bootstrap interval over problems, each problem's share averaged over the seeds. ` +
    `Tokens: completion tokens sampled in training, discarded ones included. Time: sampling and updates, measuring left out; processor time is that of all threads together.`;
  return `${markdownTable([header, ...rows])}\n\n${caption}`;
}

/** Accuracy against sampled tokens, and against seconds; one line a method, means over seeds. */
export function methodCharts(
  methods: readonly MethodResult[],
  clock: MethodClock = 'wall',
): { readonly file: string; readonly spec: ChartSpec }[] {
  const curves = methods.map((method) => ({ label: method.name, points: meanCurve(method) }));
  // Not from 0: all methods begin at the same accuracy, and what is compared lies above it.
  const yRange = niceRange(rangeOf(curves.flatMap(({ points }) => points.map(({ passAt1 }) => passAt1))));
  const spec = (title: string, xLabel: string, x: (point: MethodPoint) => number): ChartSpec => ({
    title,
    unit: `pass@1, mean of ${methods[0]!.runs.length} seeds`,
    xLabel,
    percent: true,
    yRange,
    width: 720,
    height: 420,
    series: curves.map(({ label, points }) => ({
      label,
      points: points.map((point): ChartPoint => ({ x: x(point), y: point.passAt1 })),
    })),
  });
  return [
    {
      file: 'methods-tokens.svg',
      spec: spec(
        'Held-out accuracy against sampled tokens',
        'thousand tokens sampled',
        ({ tokens }) => tokens / 1000,
      ),
    },
    {
      file: 'methods-time.svg',
      spec:
        clock === 'wall'
          ? spec('Held-out accuracy against time', 'seconds of training', ({ seconds }) => seconds)
          : spec(
              'Held-out accuracy against processor time',
              'processor seconds of training',
              ({ cpuSeconds }) => cpuSeconds,
            ),
    },
  ];
}

/** Every evaluation by its label: each seed, mean and standard deviation over the seeds. */
export function seedsMarkdown(evaluations: readonly (readonly Evaluation[])[]): string {
  const labels = [...new Set(evaluations.flatMap((all) => all.map(({ label }) => label)))];
  const rows = labels.map((label) => {
    const shares = evaluations.map((all) => all.find((one) => one.label === label)?.passAt1.mean);
    const known = shares.filter((share) => share !== undefined);
    const spread = known.length < 2 ? '' : (100 * std(known, 1)).toFixed(1);
    return [
      label,
      ...shares.map((share) => (share === undefined ? '' : formatPercent(share))),
      formatPercent(mean(known)),
      spread,
    ];
  });
  const seeds = evaluations.map((all, i) => `seed ${all[0]?.seed ?? i + 1}`);
  const table = markdownTable([['pass@1', ...seeds, 'mean', 'std'], ...rows]);
  return `${table}\n\nstd: standard deviation over seeds (n - 1), in points.`;
}

function points({ difference, low, high }: MethodResult['gain']): string {
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(100 * value).toFixed(1)}`;
  return `${signed(difference)} [${signed(low)}, ${signed(high)}]`;
}
