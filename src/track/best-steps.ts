/** Owns which steps of a stage did best by its own metrics. Knows neither checkpoints nor why one would ask. */

import type { MetricName } from './metric-names.ts';
import type { MetricRow } from './metrics.ts';

interface Measure {
  readonly name: MetricName;
  readonly better: 'higher' | 'lower';
  /** Rows that a value is the mean of: one validation says what it says, one batch of rollouts is noise. */
  readonly rows: number;
}

/** In order: the first that a stage has any value of is what its steps are compared by. */
const MEASURES: readonly Measure[] = [
  { name: 'validation/accuracy', better: 'higher', rows: 1 },
  { name: 'validation/loss', better: 'lower', rows: 1 },
  { name: 'accuracy/mean', better: 'higher', rows: 10 },
  { name: 'reward/mean', better: 'higher', rows: 10 },
  { name: 'preference/accuracy', better: 'higher', rows: 10 },
  { name: 'loss', better: 'lower', rows: 10 },
];

/**
 * The best `count` of `steps`, best first, by validation accuracy or what else the metrics have. A step's value is the
 * newest at or before it (of training metrics the mean of up to ten); steps before any value are left out; of equals the
 * later one is better.
 */
export function bestSteps(rows: readonly MetricRow[], steps: readonly number[], count: number): number[] {
  const measure = MEASURES.find(({ name }) => rows.some((row) => Number.isFinite(row[name] ?? Number.NaN)));
  if (measure === undefined || count < 1) return [];
  const sign = measure.better === 'higher' ? 1 : -1;
  const valued = steps.flatMap((step) => {
    const value = valueAt(rows, measure, step);
    return value === null ? [] : [{ step, value: sign * value }];
  });
  return valued
    .sort((a, b) => b.value - a.value || b.step - a.step)
    .slice(0, count)
    .map(({ step }) => step);
}

function valueAt(rows: readonly MetricRow[], { name, rows: window }: Measure, step: number): number | null {
  const values = rows.flatMap((row) => {
    const value = row[name];
    return row.step <= step && typeof value === 'number' && Number.isFinite(value) ? [value] : [];
  });
  const last = values.slice(-window);
  return last.length === 0 ? null : last.reduce((sum, value) => sum + value, 0) / last.length;
}
