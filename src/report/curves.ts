/** Owns which curves are shown of a run: the held-out results and each stage's metrics. Computes no pixel. */

import { join } from 'node:path';
import type { Evaluation } from '../evaluate/evaluation.ts';
import { writeFileAtomic } from '../util/files.ts';
import type { ChartPoint } from './chart-math.ts';
import { type ChartSeries, type ChartSpec, chartFile } from './charts.ts';
import { placeOfCheckpoint, type RunData, type RunStage } from './read-run.ts';

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

/**
 * Held-out results over the steps of all training stages put end to end, with 95 % bands and a mark where each stage
 * begins. Undefined where fewer than two evaluations have a known place.
 */
export function heldOutChart(run: RunData): ChartSpec | undefined {
  const starts = stageStarts(run.stages);
  const placed = run.evaluations.flatMap((evaluation) => {
    const place = placeOfCheckpoint(evaluation.checkpoint);
    const start = place === undefined ? undefined : starts.get(place.folder);
    return place === undefined || start === undefined ? [] : [{ evaluation, x: start + place.step }];
  });
  if (placed.length < 2) return undefined;
  const boundaries = run.stages
    .filter((stage) => stage.metrics.length > 0)
    .map((stage) => ({ x: starts.get(stage.folder) ?? 0, label: stage.name }));
  return shareChart(placed, boundaries);
}

/**
 * pass@1 over checkpoints of one run, stages put end to end by their steps, with a mark where each begins. Undefined where
 * fewer than two evaluations have a known place.
 */
export function checkpointChart(evaluations: readonly Evaluation[]): ChartSpec | undefined {
  const placed = evaluations.flatMap((evaluation) => {
    const place = placeOfCheckpoint(evaluation.checkpoint);
    return place === undefined ? [] : [{ ...place, evaluation }];
  });
  if (placed.length < 2) return undefined;
  const boundaries: { x: number; label: string }[] = [];
  const points: { x: number; evaluation: Evaluation }[] = [];
  let start = 0;
  for (const folder of [...new Set(placed.map((one) => one.folder))]) {
    const those = placed.filter((one) => one.folder === folder).sort((a, b) => a.step - b.step);
    boundaries.push({ x: start, label: folder.slice(folder.indexOf('-') + 1) });
    points.push(...those.map(({ step, evaluation }) => ({ x: start + step, evaluation })));
    start += those.at(-1)?.step ?? 0;
  }
  return shareChart(
    points,
    boundaries.filter(({ x }, i) => boundaries[i + 1]?.x !== x),
  );
}

/** Writes the curve of evaluations over checkpoints as an SVG into a folder; null where there is none to draw. */
export function writeCurve(folder: string, evaluations: readonly Evaluation[]): string | null {
  const chart = checkpointChart(evaluations);
  if (chart === undefined) return null;
  const path = join(folder, 'checkpoints.svg');
  writeFileAtomic(path, chartFile(chart));
  return path;
}

function shareChart(
  placed: readonly { readonly x: number; readonly evaluation: Evaluation }[],
  boundaries: readonly { readonly x: number; readonly label: string }[],
): ChartSpec {
  const series = (['passAt1', 'passAt8', 'format'] as const).flatMap((key): ChartSeries[] => {
    const label = { passAt1: 'pass@1', passAt8: 'pass@8', format: 'format' }[key];
    const points = placed.flatMap(({ evaluation, x }) => {
      const estimate = evaluation[key];
      return estimate === null ? [] : [{ x, y: estimate.mean, low: estimate.low, high: estimate.high }];
    });
    return points.length === 0 ? [] : [{ label, points, markers: true }];
  });
  return {
    title: 'Held-out problems',
    unit: 'share, with 95 % intervals',
    xLabel: 'training step, all stages',
    percent: true,
    yRange: [0, 1],
    series,
    boundaries,
    width: 720,
    height: 320,
  };
}

function stageStarts(stages: readonly RunStage[]): Map<string, number> {
  const starts = new Map<string, number>();
  let done = 0;
  for (const stage of stages) {
    starts.set(stage.folder, done);
    done += stage.metrics.at(-1)?.step ?? 0;
  }
  return starts;
}
