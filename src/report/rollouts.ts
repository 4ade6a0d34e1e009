/** Owns reading a stage's rollouts for people: which ones are asked for, and how one is printed. Changes nothing. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { ReckonError } from '../util/errors.ts';
import { formatNumber, type Painter, printable } from '../util/format.ts';
import { eachJsonl } from '../util/jsonl.ts';
import { verdictText } from './results.ts';

/** A line of rollouts/train.jsonl, as far as people look at it. */
export interface RolloutLine {
  readonly step: number;
  readonly problemId: string;
  readonly sampleIndex: number;
  readonly completion: string;
  readonly stopReason: string;
  readonly reward: number | null;
  readonly parts: Readonly<Record<string, number | null>>;
  readonly advantage?: number | undefined;
  readonly verdict: string;
  readonly reason: string;
  /** The ids of the completion, and a reward for each where the stage has token rewards. */
  readonly completionIds?: readonly number[] | undefined;
  readonly tokenRewards?: readonly number[] | undefined;
  /** What those numbers are; rewards where it is left out. */
  readonly tokenRewardKind?: TokenRewardKind | undefined;
}

const tokenRewardKinds = ['reward', 'advantage', 'log-ratio', 'divergence'] as const;

/** What a number by token says; `log-ratio` and `divergence` are the teacher's, in nats. */
export type TokenRewardKind = (typeof tokenRewardKinds)[number];

/** The schema of a line, as far as people look at it. */
export const rolloutLineSchema: z.ZodType<RolloutLine> = z.object({
  step: z.number(),
  problemId: z.string(),
  sampleIndex: z.number(),
  completion: z.string(),
  stopReason: z.string(),
  reward: z.number().nullable(),
  parts: z.record(z.string(), z.number().nullable()),
  advantage: z.number().optional(),
  verdict: z.string(),
  reason: z.string(),
  completionIds: z.array(z.number()).optional(),
  tokenRewards: z.array(z.number()).optional(),
  tokenRewardKind: z.enum(tokenRewardKinds).optional(),
});

/** Which rollouts to show; what is left out is not asked for. */
export interface RolloutFilter {
  readonly step?: number | undefined;
  readonly problem?: string | undefined;
  readonly verdict?: string | undefined;
}

/** The rollouts of a stage that fit, in the order of the file; throws `no-rollouts` for a stage without any. */
export function readRollouts(stageDirectory: string, filter: RolloutFilter = {}): RolloutLine[] {
  const path = join(stageDirectory, 'rollouts', 'train.jsonl');
  if (!existsSync(path))
    throw new ReckonError('run', 'no-rollouts', `${path} is not there: this stage keeps no rollouts`);
  const fits = (line: RolloutLine): boolean =>
    (filter.step === undefined || line.step === filter.step) &&
    (filter.problem === undefined || line.problemId === filter.problem) &&
    (filter.verdict === undefined || line.verdict === filter.verdict);
  const found: RolloutLine[] = [];
  for (const line of eachJsonl(path, (value) => rolloutLineSchema.parse(value)))
    if (fits(line)) found.push(line);
  return found;
}

/** One rollout as text: who and when, what it earned and why, what was said. */
export function rolloutText(line: RolloutLine, paint: Painter): string {
  const style = line.verdict === 'correct' ? 'green' : line.verdict === 'incorrect' ? 'red' : 'yellow';
  const parts = Object.entries(line.parts).map(([name, value]) => `${name} ${formatNumber(value)}`);
  const earned = [
    `reward ${formatNumber(line.reward)}${parts.length > 0 ? ` (${parts.join(', ')})` : ''}`,
    ...(line.advantage === undefined ? [] : [`advantage ${formatNumber(line.advantage)}`]),
    `ended by ${line.stopReason}`,
  ];
  const verdict = paint(style, `[${printable(verdictText(line))}]`);
  const title = paint(
    'bold',
    `step ${line.step}, problem ${printable(line.problemId)}, sample ${line.sampleIndex}`,
  );
  const text = printable(line.completion)
    .trimEnd()
    .split('\n')
    .map((row) => `  ${row}`);
  return [`${title}  ${verdict}`, paint('dim', earned.join(', ')), ...text].join('\n');
}
