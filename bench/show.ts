/** Owns how measured rows are printed: the table, what each row is made of, and the machine's limits. */

import { formatDuration, formatNumber, formatTable } from '../src/util/format.ts';
import type { Measurement, Summary } from './measure.ts';
import type { BenchResult, RowResult } from './results.ts';
import { rows } from './rows.ts';

const names: Readonly<Record<string, string>> = {
  gemmBf16: 'product of matrices in bf16, GFLOP/s',
  gemmF32: 'product of matrices in f32, GFLOP/s',
  read: 'reading memory, GB/s',
};

/** All rows with what they must reach; wins and losses alike. */
export function formatRows(results: readonly RowResult[]): string {
  const header = ['what', 'ours', 'theirs', 'unit', 'ratio', 'from', 'to', 'at least', 'aim', 'verdict'];
  const lines = results.map((row) => {
    const ratio = (value: number | null | undefined) => (value == null ? '–' : ratioOf(row.id, value));
    return [
      row.what,
      shown(row.ours?.median),
      shown(row.theirs?.median),
      row.unit,
      ratio(row.ratio?.median),
      ratio(row.ratio?.lowest),
      ratio(row.ratio?.highest),
      ratio(row.atLeast),
      ratio(row.aim),
      row.verdict,
    ];
  });
  return formatTable([header, ...lines], ['left', ...new Array(8).fill('right'), 'left']);
}

/** Under a row: how the other side computed, what the step is made of, why something is missing. */
export function formatDetails(row: RowResult): string[] {
  const parts = (values: Readonly<Record<string, number>>) =>
    Object.entries(values)
      .map(
        ([name, seconds]) =>
          `${name} ${seconds < 1 ? `${formatNumber(1000 * seconds, 3)} ms` : formatDuration(seconds)}`,
      )
      .join(', ');
  const tried = Object.keys(row.tried).length > 1 ? ` (fastest of ${parts(row.tried)})` : '';
  return [
    ...(Object.keys(row.parts).length > 0 ? [`ours: ${parts(row.parts)}`] : []),
    ...(row.variant === null
      ? []
      : [`theirs: ${[row.variant + tried, parts(row.theirParts)].filter(Boolean).join('; ')}`]),
    ...(row.why === null ? [] : [`not compared: ${row.why}`]),
  ];
}

/** What the machine can do. */
export function formatLimits(limits: Readonly<Record<string, Summary>>): string {
  return measured(
    'limit of this machine',
    Object.entries(limits).map(([name, value]) => ({ ...value, name: names[name] ?? name, unit: '' })),
  );
}

/** The parts that have no other side. */
export function formatMeasurements(measurements: readonly Measurement[]): string {
  return measured('what', measurements);
}

/** Everything that a result holds. */
export function formatResult({ limits, measurements, rows: results }: BenchResult): string {
  const details = results.flatMap((row) => formatDetails(row).map((line) => `${row.id}: ${line}`));
  return [
    ...(results.length > 0 ? [formatRows(results)] : []),
    ...(details.length > 0 ? [details.join('\n')] : []),
    ...(measurements.length > 0 ? [formatMeasurements(measurements)] : []),
    ...(Object.keys(limits).length > 0 ? [formatLimits(limits)] : []),
  ].join('\n\n');
}

function measured(title: string, measurements: readonly Measurement[]): string {
  const header = [title, 'median', 'lowest', 'highest', 'unit', 'aim'];
  const lines = measurements.map(({ name, median, lowest, highest, unit, aim = '' }) => [
    name,
    shown(median),
    shown(lowest),
    shown(highest),
    unit,
    aim,
  ]);
  return formatTable([header, ...lines]);
}

function ratioOf(id: string, value: number): string {
  const isShare = rows.find((row) => row.id === id)?.measure === 'bandwidth';
  return isShare ? `${(100 * value).toFixed(0)} %` : `${formatNumber(value, 3)} x`;
}

function shown(value: number | undefined): string {
  return formatNumber(value ?? null, 3);
}
