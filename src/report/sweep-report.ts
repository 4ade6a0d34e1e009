/** Owns the table and the chart of a sweep: accuracy against the swept key. Reads and writes files; runs nothing. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Evaluation } from '../evaluate/evaluation.ts';
import { writeFileAtomic } from '../util/files.ts';
import { formatDuration, formatPercent, formatTable } from '../util/format.ts';
import { mean } from '../util/statistics.ts';
import type { ChartPoint } from './chart-math.ts';
import { type ChartSeries, type ChartSpec, chartFile } from './charts.ts';
import { markdownTable } from './markdown-table.ts';
import { readRun } from './read-run.ts';

/** A run of a sweep as the report needs it. */
export interface SweepRun {
  readonly name: string;
  readonly set: Readonly<Record<string, string>>;
  /** `done`, `failed`, `stopped` or `waiting`. */
  readonly status: string;
  readonly error: string | null;
}

/** What the report is about: the swept keys in order, the runs, and the evaluation that is compared (the last by default). */
export interface SweepData {
  readonly name: string;
  readonly keys: readonly string[];
  readonly runs: readonly SweepRun[];
  readonly measure?: string | undefined;
}

/** What {@link writeSweepReport} wrote, and the table for a terminal. */
export interface SweepReport {
  readonly markdownPath: string;
  readonly chartPath: string;
  readonly table: string;
}

interface Measured extends SweepRun {
  readonly evaluations: readonly Evaluation[];
  readonly chosen: Evaluation | undefined;
}

/** Writes sweep.json, sweep.md and sweep.svg into the folder that holds the runs. */
export function writeSweepReport(folder: string, data: SweepData): SweepReport {
  const runs = data.runs.map((run) => measured(folder, run, data.measure));
  const rows = tableRows(data, runs);
  const every = everyEvaluation(data, runs);
  const tables = every === null ? [rows] : [rows, every];
  const chart = chartFile(sweepChart(data, runs));
  const chartPath = join(folder, 'sweep.svg');
  const markdownPath = join(folder, 'sweep.md');
  const failed = runs.flatMap(({ name, error }) => (error === null ? [] : [`- ${name} failed: ${error}`]));
  const text = [
    `# ${data.name}`,
    ...tables.map((table) => markdownTable(table)),
    '![accuracy against the swept key](sweep.svg)',
    ...failed,
  ];
  writeFileAtomic(chartPath, chart);
  writeFileAtomic(markdownPath, `${text.join('\n\n')}\n`);
  writeFileAtomic(join(folder, 'sweep.json'), `${JSON.stringify(summaryOf(data, runs), null, 2)}\n`);
  return {
    markdownPath,
    chartPath,
    table: tables
      .map((table) =>
        formatTable(
          table,
          table[0]!.map(() => 'left' as const),
        ),
      )
      .join('\n\n'),
  };
}

function measured(folder: string, run: SweepRun, label: string | undefined): Measured {
  const path = join(folder, run.name);
  const evaluations = existsSync(join(path, 'recipe.yaml')) ? readRun(path).evaluations : [];
  const chosen = label === undefined ? evaluations.at(-1) : evaluations.find((one) => one.label === label);
  return { ...run, evaluations, chosen };
}

function tableRows({ keys }: SweepData, runs: readonly Measured[]): string[][] {
  const rows = runs.map(({ set, status, chosen, name }) => [
    ...keys.map((key) => set[key] ?? ''),
    chosen ? interval(chosen) : '',
    chosen ? `${chosen.label}, ${chosen.split}` : '',
    chosen ? formatDuration(chosen.seconds) : '',
    status,
    name,
  ]);
  return [[...keys, 'pass@1', 'measured', 'measured in', 'state', 'run'], ...rows];
}

/** pass@1 of every evaluation of the runs, a column each; null where there is no more than the first table has. */
function everyEvaluation({ keys, measure }: SweepData, runs: readonly Measured[]): string[][] | null {
  const labels = [...new Set(runs.flatMap(({ evaluations }) => evaluations.map(({ label }) => label)))];
  if (measure !== undefined || labels.length < 2) return null;
  const rows = runs.map(({ set, evaluations }) => [
    ...keys.map((key) => set[key] ?? ''),
    ...labels.map((label) => {
      const found = evaluations.find((one) => one.label === label);
      return found ? interval(found) : '';
    }),
  ]);
  return [[...keys, ...labels], ...rows];
}

function interval({ passAt1: { mean: share, low, high } }: Evaluation): string {
  return `${formatPercent(share)} [${formatPercent(low)}, ${formatPercent(high)}]`;
}

/**
 * Accuracy against the first key, a line for each combination of the others. With one key alone, a line for each evaluation
 * of the runs but those before any training, so that stages are seen side by side. Seeds are drawn as their mean and range.
 */
export function sweepChart({ name, keys, measure }: SweepData, runs: readonly Measured[]): ChartSpec {
  const [first = '', ...others] = keys.length > 1 ? keys.filter((key) => key !== 'seed') : keys;
  const axis = axisOf(first, runs);
  const series = new Map<string, ChartPoint[]>();
  for (const run of runs) {
    const shown = others.length > 0 || measure !== undefined ? [run.chosen] : run.evaluations;
    for (const evaluation of shown) {
      if (evaluation === undefined || evaluation.label === 'untrained') continue;
      const { mean: y, low, high } = evaluation.passAt1;
      const combination = others.map((key) => `${key.split('.').at(-1)} ${run.set[key]}`).join(', ');
      const label = combination === '' ? evaluation.label : combination;
      const points = series.get(label) ?? [];
      points.push({ x: axis.place(run.set[first] ?? ''), y, low, high });
      series.set(label, points);
    }
  }
  const lines: ChartSeries[] = [...series].map(([label, points]) => ({
    label,
    points: overSeeds(points).toSorted((a, b) => a.x - b.x),
    markers: true,
  }));
  return {
    title: `${name}: pass@1`,
    xLabel: axis.label,
    series: lines,
    percent: true,
    width: 620,
    height: 320,
  };
}

/** Points of one place become one: their mean, from the lowest to the highest. A lone point keeps its own interval. */
function overSeeds(points: readonly ChartPoint[]): ChartPoint[] {
  return [...new Set(points.map(({ x }) => x))].map((x) => {
    const here = points.filter((point) => point.x === x);
    if (here.length === 1) return here[0]!;
    const values = here.map(({ y }) => y);
    return { x, y: mean(values), low: Math.min(...values), high: Math.max(...values) };
  });
}

/** Numbers lie where they are, over a decade or more by their logarithm; words lie side by side. */
function axisOf(key: string, runs: readonly SweepRun[]): { label: string; place(value: string): number } {
  const values = [...new Set(runs.map(({ set }) => set[key] ?? ''))];
  const numbers = values.map(Number);
  if (values.some((value, i) => value === '' || !Number.isFinite(numbers[i]))) {
    const names = values.map((value, i) => `${i + 1} ${value}`).join(', ');
    return { label: `${key}: ${names}`, place: (value) => values.indexOf(value) + 1 };
  }
  const wide = Math.min(...numbers) > 0 && Math.max(...numbers) / Math.min(...numbers) >= 8;
  if (wide) return { label: `log10 of ${key}`, place: (value) => Math.log10(Number(value)) };
  return { label: key, place: Number };
}

function summaryOf({ name, keys }: SweepData, runs: readonly Measured[]): object {
  return {
    version: 1,
    name,
    keys,
    runs: runs.map(({ name: run, set, status, error, evaluations }) => ({
      run,
      set,
      status,
      error,
      evaluations: evaluations.map(({ label, split, n, passAt1, seconds }) => ({
        label,
        split,
        n,
        passAt1,
        seconds,
      })),
    })),
  };
}
