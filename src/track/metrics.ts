/** Owns metrics.jsonl (version 1): one line a step, written and read back. Refuses to know who measured what. */

import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { z } from 'zod';
import { ReckonError } from '../util/errors.ts';
import { writeFileAtomic } from '../util/files.ts';
import { JsonlWriter, numberFromJson, numberToJson, readJsonl, truncateJsonl } from '../util/jsonl.ts';
import { isMetricName, type MetricName, type MetricRecord } from './metric-names.ts';

/** One line of metrics.jsonl. */
export type MetricRow = MetricRecord & { readonly step: number };

/**
 * The schema of a line, version 1: `step` and metrics by name. JSON has no NaN and no infinity, and null means "no
 * value", so these three are the strings 'NaN', 'Infinity' and '-Infinity'; parsing gives the numbers back.
 */
export const metricRowSchema: z.ZodType<MetricRow> = z
  .object({ step: z.int().nonnegative() })
  .catchall(z.unknown())
  .transform((line, context): MetricRow => {
    const row: Record<string, number | null> = {};
    for (const [name, value] of Object.entries(line)) {
      const number = value === null ? null : numberFromJson(value);
      const known = name === 'step' || isMetricName(name);
      if (known && number !== undefined) row[name] = number;
      else
        context.addIssue({
          code: 'custom',
          path: [name],
          message: known ? 'not a number' : 'not a metric name',
        });
    }
    return { ...row, step: line.step };
  });

/** How {@link MetricsWriter.open} treats what is already there. */
export interface MetricsOptions {
  /** The checkpoint's step: later lines are cut off. Left out, the file starts empty. */
  readonly resumeFromStep?: number;
  /** Waits until each line is on the disk. Off by default. */
  readonly fsync?: boolean;
}

/** Appends one line a step to metrics.jsonl. Steps must rise. */
export class MetricsWriter implements Disposable {
  private readonly lines: JsonlWriter;
  private lastStep: number;

  private constructor(lines: JsonlWriter, lastStep: number) {
    this.lines = lines;
    this.lastStep = lastStep;
  }

  /** Opens the file for appending, cut back to the step that is resumed from. */
  static open(path: string, options: MetricsOptions = {}): MetricsWriter {
    if (options.resumeFromStep === undefined) writeFileAtomic(path, '');
    else truncateJsonl(path, options.resumeFromStep);
    const lines = new JsonlWriter(path, { fsync: options.fsync ?? false });
    return new MetricsWriter(lines, readMetrics(path).at(-1)?.step ?? -1);
  }

  /** Appends the metrics of a step; a step that is not after the last one is an error. */
  write(step: number, record: MetricRecord): void {
    if (!Number.isInteger(step) || step <= this.lastStep) {
      const found = `expected a step after ${this.lastStep}, found ${step}`;
      throw new ReckonError(
        'internal',
        'metrics-step-order',
        `${this.lines.path}: ${found}; write each step once`,
      );
    }
    const line: Record<string, unknown> = { step };
    for (const [name, value] of Object.entries(record)) {
      if (value !== undefined) line[name] = value === null ? null : numberToJson(value);
    }
    this.lines.append(line);
    this.lastStep = step;
  }

  /** Syncs and closes the file. */
  close(): void {
    this.lines.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** All lines of a metrics.jsonl; a torn last line is left out, any other bad line is an error with file and line. */
export function readMetrics(path: string): MetricRow[] {
  return readJsonl(path, (value) => {
    const result = metricRowSchema.safeParse(value);
    if (result.success) return result.data;
    throw new ReckonError('data', 'metrics-bad-line', z.prettifyError(result.error).replaceAll('\n', ' '));
  });
}

/** The whole lines of a metrics.jsonl from a byte on, where a line begins, and the byte behind the last of them. */
export function readMetricsFrom(path: string, start: number): { rows: MetricRow[]; bytes: number } {
  const file = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(Math.max(0, fstatSync(file).size - start));
    const read = buffer.subarray(0, readSync(file, buffer, 0, buffer.length, start));
    const whole = read.subarray(0, read.lastIndexOf(10) + 1);
    const lines = whole.toString('utf8').split('\n').slice(0, -1);
    return {
      rows: lines.map((line) => metricRowSchema.parse(JSON.parse(line))),
      bytes: start + whole.length,
    };
  } finally {
    closeSync(file);
  }
}

/** The steps and values of one metric, steps without it left out. */
export function metricSeries(
  rows: readonly MetricRow[],
  name: MetricName,
): { step: number; value: number }[] {
  return rows.flatMap((row) => {
    const value = row[name];
    return typeof value === 'number' ? [{ step: row.step, value }] : [];
  });
}
