/** Owns which curves are shown of a run: the held-out results and each stage's metrics. Computes no pixel. */

import { join } from 'node:path';
import type { Evaluation } from '../evaluate/evaluation.ts';
import { writeFileAtomic } from '../util/files.ts';
import type { Interval } from '../util/statistics.ts';
import { type ChartPoint, niceRange, rangeOf } from './chart-math.ts';
import { type ChartSeries, type ChartSpec, chartFile } from './charts.ts';
import {
  evaluationAt,
  evaluationsOf,
  type Line,
  linesOf,
  measuredAlike,
  type PlacedEvaluation,
  stagesBehind,
} from './lineage.ts';
import { type RunData, type RunStage, runLineage } from './read-run.ts';

interface Curve {
  readonly title: string;
  readonly unit?: string;
  readonly percent?: boolean;
  /** Metric names with the words of the legend. */
  readonly metrics: readonly (readonly [name: string, label: string])[];
}

const CURVES: readonly Curve[] = [
  {
    title: 'Loss',
    metrics: [
      ['loss', 'training'],
      ['validation/loss', 'validation'],
    ],
  },
  {
    title: 'Reward',
    metrics: [
      ['reward/mean', 'mean'],
      ['reward/std', 'standard deviation'],
    ],
  },
  {
    title: 'Accuracy',
    percent: true,
    metrics: [
      ['accuracy/mean', 'training'],
      ['validation/accuracy', 'validation'],
    ],
  },
  {
    title: 'Format kept',
    percent: true,
    metrics: [
      ['format/mean', 'training'],
      ['validation/format', 'validation'],
    ],
  },
  { title: 'KL from the reference', unit: 'nats a token', metrics: [['policy/kl', 'KL']] },
  { title: 'Entropy', unit: 'nats a token', metrics: [['policy/entropy', 'entropy']] },
  {
    title: 'Completion length',
    unit: 'tokens',
    metrics: [
      ['completion/length_mean', 'mean'],
      ['completion/length_max', 'longest'],
    ],
  },
  {
    title: 'Groups and clipping',
    percent: true,
    metrics: [
      ['group/no_spread_share', 'groups without spread'],
      ['policy/clip_fraction', 'tokens clipped'],
    ],
  },
  { title: 'Gradient norm', metrics: [['grad_norm', 'before clipping']] },
  { title: 'Learning rate', metrics: [['learning_rate', 'learning rate']] },
  { title: 'Speed', unit: 'tokens a second', metrics: [['perf/tokens_per_s', 'speed']] },
];

/** Every metric name that a curve shows, for the test that compares them with the table of names. */
export const CURVE_METRICS: readonly string[] = CURVES.flatMap((curve) =>
  curve.metrics.map(([name]) => name),
);

const PARTS_OF_REWARD = { mean: 'reward/mean', std: 'reward/std', prefix: 'reward/' } as const;

/** The charts of a stage; a curve whose metrics the stage never wrote is left out. */
export function stageCharts(stage: RunStage): ChartSpec[] {
  return CURVES.flatMap((curve): ChartSpec[] => {
    const parts = curve.metrics.some(([name]) => name === PARTS_OF_REWARD.mean) ? rewardParts(stage) : [];
    const series = [...curve.metrics, ...parts].flatMap(([name, label]): ChartSeries[] => {
      const points = pointsOf(stage, name);
      return points.length === 0 ? [] : [{ label, points, smooth: name !== 'learning_rate' }];
    });
    if (series.length === 0) return [];
    const { title, unit = '', percent = false } = curve;
    const only = series.length === 1 && series[0]?.label === 'validation' ? ' (validation)' : '';
    return [{ title: title + only, unit, percent, xLabel: 'step', series }];
  });
}

function rewardParts(stage: RunStage): (readonly [string, string])[] {
  const { mean, std, prefix } = PARTS_OF_REWARD;
  const names = new Set(stage.metrics.flatMap(({ values }) => [...values.keys()]));
  return [...names]
    .filter((name) => name.startsWith(prefix) && name !== mean && name !== std)
    .map((name) => [name, name.slice(prefix.length)] as const);
}

function pointsOf(stage: RunStage, metric: string): ChartPoint[] {
  return stage.metrics.flatMap(({ step, values }) => {
    const y = values.get(metric);
    return y === undefined ? [] : [{ x: step, y }];
  });
}

/** What a chart of evaluations is drawn from. */
export type MeasuredRun = Pick<RunData, 'stages' | 'evaluations'>;

/**
 * Held-out results over the steps of training behind each model, with 95 % intervals. Stages one after the other: the
 * shares, and a mark where each stage begins. Stages that branch: pass@1, a line for each branch from the model that it
 * starts from. Undefined where fewer than two evaluations have a known place.
 */
export function heldOutChart(run: MeasuredRun): ChartSpec | undefined {
  const alike = measuredAlike(run.evaluations);
  const lines = linesOf(runLineage({ ...run, evaluations: alike })).filter(
    (line) => evaluationsOf(line, alike).length > 0,
  );
  const placed = lines.map((line) => evaluationsOf(line, alike));
  if (placed.flat().length < 2) return undefined;
  const [only] = lines;
  return lines.length === 1 && only ? chainChart(placed[0]!, only) : branchChart(run, lines, alike);
}

/** Writes the chart of evaluations over checkpoints as an SVG into a folder; null where there is none to draw. */
export function writeCurve(folder: string, run: MeasuredRun): string | null {
  const chart = heldOutChart(run);
  if (chart === undefined) return null;
  const path = join(folder, 'checkpoints.svg');
  writeFileAtomic(path, chartFile(chart));
  return path;
}

const RESULTS_SIZE = { width: 720, height: 320 } as const;

function chainChart(placed: readonly PlacedEvaluation[], line: Line): ChartSpec {
  const series = (['passAt1', 'passAt8', 'format'] as const).flatMap((key): ChartSeries[] => {
    const label = { passAt1: 'pass@1', passAt8: 'pass@8', format: 'format' }[key];
    const points = placed.flatMap(({ evaluation, steps }) => intervalPoint(steps, evaluation[key]));
    return points.length === 0 ? [] : [{ label, points, markers: true }];
  });
  const begun = line.stages.filter(({ steps }) => steps > 0);
  return {
    title: 'Held-out problems',
    unit: 'share, with 95 % intervals',
    xLabel: 'training step, all stages',
    percent: true,
    yRange: [0, 1],
    series,
    boundaries: begun.map(({ start, name }) => ({ x: start, label: name })),
    ...RESULTS_SIZE,
  };
}

/** The stages that branches differ by may take very different numbers of steps, so the axis counts stages. */
function branchChart(run: MeasuredRun, lines: readonly Line[], alike: readonly Evaluation[]): ChartSpec {
  const series = lines.map((line, i): ChartSeries => {
    // Ends that lie on one place are drawn beside each other.
    const aside =
      line.origin === null ? 0 : Math.min(0.03, 0.18 / lines.length) * (i - (lines.length - 1) / 2);
    const own = evaluationsOf(line, alike);
    const start = evaluationAt(line.origin, alike);
    const points = [
      ...(start === undefined ? [] : [{ x: line.stages[0]!.depth, y: start.passAt1.mean }]),
      ...measuredOnTheWay(run, line, own),
      ...own.flatMap(({ evaluation, stages }) => intervalPoint(stages + aside, evaluation.passAt1)),
    ].sort((a, b) => a.x - b.x);
    return { label: lineName(line), points, markers: true, bars: true };
  });
  const values = series.flatMap(({ points }) => points.flatMap(({ y, low = y, high = y }) => [low, high]));
  return {
    title: 'Held-out problems',
    unit: 'pass@1, with 95 % intervals; each branch from its own start',
    xLabel: 'stages of training behind the model, by the share of its steps within one',
    percent: true,
    // Not from 0: branches begin at one accuracy, and what is compared lies around it.
    yRange: niceRange(rangeOf(values)),
    series,
    width: RESULTS_SIZE.width,
    height: RESULTS_SIZE.height + 20 * lines.length,
  };
}

/** What a stage measured between its steps, where no evaluation says it. */
function measuredOnTheWay(
  { stages }: MeasuredRun,
  { stages: own }: Line,
  placed: readonly PlacedEvaluation[],
): ChartPoint[] {
  return own.flatMap((stage) => {
    const taken = placed.flatMap(({ place }) => (place.folder === stage.folder ? [place.step] : []));
    return pointsOf(stages.find(({ folder }) => folder === stage.folder)!, 'evaluation/pass_at_1')
      .filter(({ x }) => !taken.includes(x))
      .map(({ x, y }) => ({ x: stagesBehind(stage, x), y }));
  });
}

function lineName({ stages }: Line): string {
  const trained = stages.filter(({ steps }) => steps > 0);
  return (trained.length > 0 ? trained : stages).map(({ name }) => name).join(' → ');
}

function intervalPoint(x: number, estimate: Interval | null): ChartPoint[] {
  return estimate === null ? [] : [{ x, y: estimate.mean, low: estimate.low, high: estimate.high }];
}
