/** Owns how methods that begin at one model are told: their table and their charts. Reads no file. */

import { formatCount, formatDuration, formatPercent } from '../util/format.ts';
import { type ChartPoint, niceRange, rangeOf } from './chart-math.ts';
import type { ChartSpec } from './charts.ts';
import { markdownTable } from './markdown-table.ts';
import { type MethodPoint, type MethodResult, meanCurve } from './methods.ts';

/** What a chart against time counts: seconds on the wall, or of the processor, which other work does not stretch. */
export type MethodClock = 'wall' | 'processor';

/** Header and rows of methods, each compared with its start, and the sentence that says how. */
export function methodsTable(methods: readonly MethodResult[]): { rows: string[][]; caption: string } {
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
    `pass@1 on ${first.n} held-out problems, ${first.samplesPerProblem} samples each at temperature ${first.temperature}; ${seeds === 1 ? 'one seed' : `means over ${seeds} seeds`}. ` +
    `Gain: end less start with its 95 % paired bootstrap interval over problems, each problem's share averaged over the seeds. ` +
    `Tokens: completion tokens sampled in training, discarded ones included. Time: sampling and updates, measuring left out; processor time is that of all threads together.`;
  return { rows: [header, ...rows], caption };
}

/** The table of methods and its sentence as Markdown. */
export function methodsMarkdown(methods: readonly MethodResult[]): string {
  const { rows, caption } = methodsTable(methods);
  return `${markdownTable(rows)}\n\n${caption}`;
}

/** Accuracy against sampled tokens, and against seconds; one line a method, means over seeds. */
export function methodCharts(
  methods: readonly MethodResult[],
  clock: MethodClock = 'wall',
): { readonly file: string; readonly spec: ChartSpec }[] {
  const seeds = methods[0]!.runs.length;
  const curves = methods.map((method) => ({ label: method.name, points: meanCurve(method) }));
  // Not from 0: all methods begin at the same accuracy, and what is compared lies above it.
  const yRange = niceRange(rangeOf(curves.flatMap(({ points }) => points.map(({ passAt1 }) => passAt1))));
  const spec = (title: string, xLabel: string, x: (point: MethodPoint) => number): ChartSpec => ({
    title,
    unit: seeds === 1 ? 'pass@1' : `pass@1, mean of ${seeds} seeds`,
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

function points({ difference, low, high }: MethodResult['gain']): string {
  const signed = (value: number) => `${value < 0 ? '−' : '+'}${Math.abs(100 * value).toFixed(1)}`;
  return `${signed(difference)} [${signed(low)}, ${signed(high)}]`;
}
