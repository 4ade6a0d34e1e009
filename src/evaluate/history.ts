/**
 * Owns what a training history says as a whole: convergence rate, stability, efficiency, by the formulas of "Intrinsic
 * reward distillation", and gains by tokens spent. Reads no file.
 */

import { mean, std } from '../util/statistics.ts';

/** (early - recent) / early of the loss, over windows of 100 at both ends, not below 0; 0 for a history under 200. */
export function convergenceRate(losses: readonly number[], window = 100): number {
  if (losses.length < 2 * window) return 0;
  const early = mean(losses.slice(0, window));
  const recent = mean(losses.slice(-window));
  return Math.max(0, (early - recent) / early);
}

/** 1 / (1 + standard deviation of the last 50 losses), in (0, 1]; 0 for a history under 50. */
export function trainingStability(losses: readonly number[], window = 50): number {
  return losses.length < window ? 0 : 1 / (1 + std(losses.slice(-window), 0));
}

/** Reward gained a step: mean of the last 10 less mean of the first 10 (of the ends, below 10), over the steps between. */
export function learningEfficiency(rewards: readonly number[], steps: readonly number[]): number {
  if (rewards.length < 2 || steps.length < 2) return 0;
  return gained(rewards) / Math.max(1, steps.at(-1)! - steps[0]!);
}

/** The same gain over millions of tokens spent; NaN where no token is known to be. */
export function gainPerMillionTokens(values: readonly number[], tokens: number): number {
  return tokens > 0 && values.length >= 2 ? gained(values) / (tokens / 1e6) : Number.NaN;
}

function gained(values: readonly number[]): number {
  const ends = values.length >= 10 ? 10 : 1;
  return mean(values.slice(-ends)) - mean(values.slice(0, ends));
}
