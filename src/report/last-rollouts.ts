/** Owns finding the best and the worst rollouts of a stage's last step, from the end of its file. Judges nothing. */

import { closeSync, existsSync, fstatSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { mean } from '../util/statistics.ts';
import { type RolloutLine, rolloutLineSchema, type TokenRewardKind } from './rollouts.ts';

/** The rollouts that a report shows of a stage. */
export interface ExtremeRollouts {
  readonly stage: string;
  readonly step: number;
  /** What they are ranked by. */
  readonly by: 'reward' | TokenRewardKind;
  readonly best: readonly RolloutLine[];
  readonly worst: readonly RolloutLine[];
}

/** Bytes that are read from the end of a file of rollouts, and how many at most where the last step has more. */
const TAIL_BYTES = 4 * 2 ** 20;
const MOST_BYTES = 256 * 2 ** 20;

/**
 * The `count` highest and lowest rewards of the last step that the stage's rollouts hold, equal ones in the order of the file;
 * null without rollouts or rewards. Where all rewards are one, as in distillation, the means of the tokens' numbers rank.
 */
export function extremeRollouts(runDirectory: string, stage: string, count = 2): ExtremeRollouts | null {
  const path = join(runDirectory, stage, 'rollouts', 'train.jsonl');
  const lines = existsSync(path) ? lastLines(path) : [];
  const step = Math.max(...lines.map((line) => line.step), Number.NEGATIVE_INFINITY);
  const last = lines.filter((line) => line.step === step && line.reward !== null);
  if (last.length === 0) return null;
  const kind = last.some(({ reward }) => reward !== last[0]!.reward) ? 'reward' : kindOfTokens(last);
  const ranked = last.toSorted((a, b) => rankOf(b, kind) - rankOf(a, kind));
  const best = ranked.slice(0, Math.min(count, Math.ceil(ranked.length / 2)));
  const worst = ranked.slice(Math.max(best.length, ranked.length - count)).reverse();
  return { stage, step, by: kind, best, worst };
}

/** Of lines that all have numbers by token; `reward` for others. */
function kindOfTokens(lines: readonly RolloutLine[]): ExtremeRollouts['by'] {
  const known = lines.every(({ tokenRewards }) => (tokenRewards?.length ?? 0) > 0);
  return known ? (lines[0]!.tokenRewardKind ?? 'reward') : 'reward';
}

/** The reward, or the mean over tokens of what else ranks; a divergence is worse the larger it is. */
export function rankOf({ reward, tokenRewards }: RolloutLine, by: ExtremeRollouts['by']): number {
  if (by === 'reward') return reward!;
  return (by === 'divergence' ? -1 : 1) * mean(tokenRewards!);
}

/** The rollouts of at least the whole last step at the end of a file, as far as they are within the bound. */
function lastLines(path: string): RolloutLine[] {
  const file = openSync(path, 'r');
  try {
    const { size } = fstatSync(file);
    for (let length = TAIL_BYTES; ; length *= 4) {
      const lines = linesWithin(file, size, Math.min(size, length));
      const whole = length >= size || lines.some(({ step }) => step < lines.at(-1)!.step);
      if (whole || length >= MOST_BYTES) return lines;
    }
  } finally {
    closeSync(file);
  }
}

/** The whole lines among the last bytes of a file that are rollouts. */
function linesWithin(file: number, size: number, length: number): RolloutLine[] {
  const bytes = Buffer.alloc(length);
  readSync(file, bytes, 0, length, size - length);
  const texts = bytes.toString('utf8').split('\n');
  // The first line is cut unless the whole file was read, the last one where a process was killed.
  return (size > length ? texts.slice(1) : texts).flatMap((text) => parsed(text));
}

function parsed(text: string): RolloutLine[] {
  try {
    const line = rolloutLineSchema.safeParse(JSON.parse(text));
    return line.success ? [line.data] : [];
  } catch {
    return [];
  }
}
