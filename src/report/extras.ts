/** Owns what a report reads beyond a run's metrics and evaluations: data counts, extreme rollouts, rows. Only reads files. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { readRows } from '../evaluate/rows.ts';
import { loadTokenizer, type Tokenizer } from '../text/index.ts';
import { messageOf } from '../util/errors.ts';
import { game24Table } from './game24.ts';
import { type ExtremeRollouts, extremeRollouts } from './last-rollouts.ts';
import { type MethodResult, methodResults } from './methods.ts';
import type { RunData } from './read-run.ts';
import type { RolloutLine } from './rollouts.ts';
import { type RewardedToken, tokenTexts } from './shading.ts';

/** What {@link readExtras} finds; a part that is not there is empty or null. */
export interface ReportExtras {
  /** Problems of each split, as the run prepared them. */
  readonly problems: readonly (readonly [split: string, count: number])[];
  /** Of the last stage that has rollouts, and before it of the last one that has numbers by token. */
  readonly extremes: readonly ExtremeRollouts[];
  /** The tokens of those rollouts that have a reward for each. */
  readonly shaded: ReadonlyMap<RolloutLine, readonly RewardedToken[]>;
  /** The 24-game table of the last evaluation that kept rows. */
  readonly game24: { readonly label: string; readonly table: readonly (readonly string[])[] } | null;
  /** Training methods that begin at one model, where there are two or more. */
  readonly methods: readonly MethodResult[];
  /** What could not be read, a sentence each. */
  readonly notes: readonly string[];
}

/** The extras of a run without any. */
export const NO_EXTRAS: ReportExtras = {
  problems: [],
  extremes: [],
  shaded: new Map(),
  game24: null,
  methods: [],
  notes: [],
};

/** Reads the extras; what cannot be read is a note. */
export function readExtras(run: RunData): ReportExtras {
  const notes: string[] = [];
  const attempt = <T>(what: string, read: () => T, otherwise: T): T => {
    try {
      return read();
    } catch (thrown) {
      notes.push(`${what} could not be read: ${messageOf(thrown)}`);
      return otherwise;
    }
  };
  const extremes = attempt('the rollouts', () => lastExtremes(run), []);
  return {
    problems: attempt('the problems', () => problemCounts(run), []),
    extremes,
    shaded: attempt('the tokenizer', () => shadedRollouts(run, extremes), new Map()),
    game24: attempt('the rows', () => lastGame24(run), null),
    methods: attempt('the methods', () => branching(methodResults([run.directory])), []),
    notes,
  };
}

/** A single method, or one after the other, is told by the run's results alone. */
function branching(methods: readonly MethodResult[]): readonly MethodResult[] {
  const starts = methods.map(({ runs }) => runs[0]!.start.checkpoint);
  return methods.length > 1 && new Set(starts).size === 1 ? methods : [];
}

function problemCounts({ directory, stages }: RunData): [string, number][] {
  const order = ['train', 'validation', 'test'];
  return stages.flatMap(({ folder }) => {
    const place = join(directory, folder, 'problems');
    const files = existsSync(place) ? readdirSync(place).filter((name) => name.endsWith('.jsonl')) : [];
    return files
      .map((name): [string, number] => [name.slice(0, -'.jsonl'.length), linesOf(join(place, name))])
      .sort(([a], [b]) => order.indexOf(a) - order.indexOf(b));
  });
}

function linesOf(path: string): number {
  let lines = 0;
  for (const byte of readFileSync(path)) if (byte === 0x0a) lines++;
  return lines;
}

function lastExtremes({ directory, stages }: RunData): ExtremeRollouts[] {
  let last: ExtremeRollouts | null = null;
  for (const { folder } of stages.toReversed()) {
    const found = extremeRollouts(directory, folder);
    if (found === null) continue;
    const byToken = [...found.best, ...found.worst].some((line) => line.tokenRewards !== undefined);
    if (byToken) return last === null ? [found] : [found, last];
    last ??= found;
  }
  return last === null ? [] : [last];
}

function shadedRollouts(
  { directory, stages }: RunData,
  extremes: readonly ExtremeRollouts[],
): Map<RolloutLine, readonly RewardedToken[]> {
  const shaded = new Map<RolloutLine, readonly RewardedToken[]>();
  const lines = extremes
    .flatMap(({ best, worst }) => [...best, ...worst])
    .filter(
      (line) => line.tokenRewards !== undefined && line.tokenRewards.length === line.completionIds?.length,
    );
  if (lines.length === 0) return shaded;
  const tokenizer = tokenizerOf(
    directory,
    stages.map(({ folder }) => folder),
  );
  for (const line of tokenizer === null ? [] : lines) {
    const texts = tokenTexts(line.completionIds!, (ids) => tokenizer!.decodeAll(ids));
    shaded.set(
      line,
      texts.map((text, i) => ({ text, reward: line.tokenRewards![i]! })),
    );
  }
  return shaded;
}

/** The tokenizer of any checkpoint of the run: all stages share one. */
function tokenizerOf(directory: string, stages: readonly string[]): Tokenizer | null {
  for (const stage of stages) {
    const place = join(directory, stage, 'checkpoints');
    const steps = existsSync(place) ? readdirSync(place) : [];
    const folder = steps
      .map((step) => join(place, step))
      .find((path) => existsSync(join(path, 'tokenizer.json')));
    if (folder !== undefined) return loadTokenizer(folder);
  }
  return null;
}

function lastGame24({ directory, evaluations }: RunData): ReportExtras['game24'] {
  for (const { label, rows } of evaluations.toReversed()) {
    const path = rows === undefined ? '' : join(directory, 'evaluations', rows);
    if (path === '' || !existsSync(path)) continue;
    const table = game24Table(readRows(path));
    return table === null ? null : { label, table };
  }
  return null;
}
