/**
 * Owns the comparison of training methods that begin at one model: accuracy against sampled tokens and seconds, and the gain
 * over the start, seeds pooled. Works from run directories' files; draws nothing.
 */

import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Evaluation } from '../evaluate/evaluation.ts';
import { type PairedDifference, pairedBootstrap } from '../evaluate/paired.ts';
import { mean } from '../util/statistics.ts';
import { type RunData, type RunStage, readRun } from './read-run.ts';

/** Accuracy after so many sampled tokens and seconds of training; measuring takes no part in the seconds. */
export interface MethodPoint {
  readonly tokens: number;
  readonly seconds: number;
  /** Processor time of all threads together: unlike `seconds` the same whatever else the machine does. */
  readonly cpuSeconds: number;
  readonly passAt1: number;
}

/** One method with one seed: a trained stage that samples, between the evaluations of its start and of its end. */
export interface MethodRun {
  readonly name: string;
  readonly seed: number;
  readonly steps: number;
  readonly start: Evaluation;
  readonly end: Evaluation;
  /** From 0 tokens to the end, in between where the stage's budget had it measured. */
  readonly points: readonly MethodPoint[];
}

/** One method over its seeds. */
export interface MethodResult {
  readonly name: string;
  readonly runs: readonly MethodRun[];
  /** Means over seeds. */
  readonly tokens: number;
  readonly seconds: number;
  readonly cpuSeconds: number;
  readonly steps: number;
  readonly start: number;
  readonly end: number;
  /** pass@1 at the end less that of the start, paired by problem, each problem's share averaged over the seeds. */
  readonly gain: PairedDifference;
}

const stageSchema = z.object({
  type: z.string(),
  parent: z.string().nullable(),
  output: z.string().nullable(),
});

/** Every method in some run directories, those of one name pooled, in the order of their stages. */
export function methodResults(runDirectories: readonly string[]): MethodResult[] {
  const byName = new Map<string, MethodRun[]>();
  for (const run of runDirectories.flatMap(methodsOf))
    byName.set(run.name, [...(byName.get(run.name) ?? []), run]);
  return [...byName].map(([name, runs]) => pooled(name, runs));
}

/** The curve of a method: means over the seeds that have a measurement of that number. */
export function meanCurve({ runs }: MethodResult): MethodPoint[] {
  const longest = Math.max(...runs.map(({ points }) => points.length));
  // The last measurement is the end's, however many a seed had before.
  const at = (points: readonly MethodPoint[], i: number) =>
    i === longest - 1 ? points.at(-1) : points.slice(0, -1)[i];
  return Array.from({ length: longest }, (_, i) => {
    const found = runs.map(({ points }) => at(points, i)).filter((point) => point !== undefined);
    const over = (read: (point: MethodPoint) => number) => mean(found.map(read));
    return {
      tokens: over((point) => point.tokens),
      seconds: over((point) => point.seconds),
      cpuSeconds: over((point) => point.cpuSeconds),
      passAt1: over((point) => point.passAt1),
    };
  });
}

function methodsOf(directory: string): MethodRun[] {
  const run = readRun(directory);
  return run.stages.flatMap((stage) => {
    const method = methodOf(run, stage);
    return method === null ? [] : [method];
  });
}

/** Null for a stage that samples nothing, or whose start or end was not measured. */
function methodOf(run: RunData, stage: RunStage): MethodRun | null {
  const path = join(run.directory, stage.folder, 'stage.json');
  const sampled = stage.metrics.at(-1)?.values.get('rollouts/generated_tokens');
  if (sampled === undefined || !existsSync(path)) return null;
  const { type, parent, output } = stageSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  const measured = (checkpoint: string | null) =>
    run.evaluations.find((evaluation) => evaluation.checkpoint === checkpoint);
  const [start, end] = [measured(parent), measured(output)];
  if (!start || !end) return null;
  const name = stage.name.startsWith(`${type}-`) ? stage.name.slice(type.length + 1) : stage.name;
  const { steps, points } = { steps: stage.metrics.length, points: pointsOf(stage, start, end) };
  return { name, seed: end.seed, steps, start, end, points };
}

function pointsOf({ metrics }: RunStage, start: Evaluation, end: Evaluation): MethodPoint[] {
  const points: MethodPoint[] = [{ tokens: 0, seconds: 0, cpuSeconds: 0, passAt1: start.passAt1.mean }];
  let [tokens, seconds, cpuSeconds] = [0, 0, 0];
  for (const { values } of metrics) {
    seconds += values.get('time/step_s') ?? 0;
    cpuSeconds += values.get('time/cpu_s') ?? 0;
    tokens = values.get('rollouts/generated_tokens') ?? tokens;
    const passAt1 = values.get('evaluation/pass_at_1');
    if (passAt1 !== undefined) points.push({ tokens, seconds, cpuSeconds, passAt1 });
  }
  return [...points, { tokens, seconds, cpuSeconds, passAt1: end.passAt1.mean }];
}

function pooled(name: string, runs: readonly MethodRun[]): MethodResult {
  const last = runs.map(({ points }) => points.at(-1)!);
  const [before, after] = [poolProblems(runs, 'start'), poolProblems(runs, 'end')];
  const ids = [...before.keys()].filter((id) => after.has(id));
  return {
    name,
    runs,
    tokens: mean(last.map((point) => point.tokens)),
    seconds: mean(last.map((point) => point.seconds)),
    cpuSeconds: mean(last.map((point) => point.cpuSeconds)),
    steps: mean(runs.map((run) => run.steps)),
    start: mean(runs.map((run) => run.start.passAt1.mean)),
    end: mean(last.map((point) => point.passAt1)),
    gain: pairedBootstrap(
      ids.map((id) => mean(before.get(id)!)),
      ids.map((id) => mean(after.get(id)!)),
    ),
  };
}

/** The share of correct samples of each problem, one number a seed. */
function poolProblems(runs: readonly MethodRun[], which: 'start' | 'end'): Map<string, number[]> {
  const shares = new Map<string, number[]>();
  for (const run of runs)
    for (const { id, correct, samples } of run[which].problems)
      shares.set(id, [...(shares.get(id) ?? []), correct / samples]);
  return shares;
}
