/** Owns learning-rate schedules: pure functions of the step. */

export interface ScheduleOptions {
  readonly steps: number;
  readonly learningRate: number;
  readonly warmupSteps: number;
  /** `wsd`: constant after the warm-up, then a cosine over the last tenth of the steps. */
  readonly schedule: 'constant' | 'linear' | 'cosine' | 'wsd';
  /** The rate at the last step over the peak. */
  readonly minLearningRateRatio: number;
}

/**
 * The learning rate of step 1 to `steps`: linear warm-up to the peak at `warmupSteps`, then the decay. Where
 * transformers gives its first step a rate of 0, ours has 1 / `warmupSteps` of the peak: the same curve, one step on. So a
 * decay is at its floor in the last step, which with a floor of 0 changes nothing. A single step is at the peak: it is the
 * last one too, and nothing would be learned.
 */
export function learningRateAt(step: number, options: ScheduleOptions): number {
  const { steps, learningRate, warmupSteps, schedule, minLearningRateRatio: minRatio } = options;
  if (step <= warmupSteps) return (learningRate * step) / warmupSteps;
  if (steps === 1) return learningRate;
  const common = { steps, warmupSteps, minRatio };
  const decaySteps = Math.max(1, Math.round((steps - warmupSteps) / 10));
  const factor =
    schedule === 'wsd'
      ? scheduleFactor('wsd', step, { ...common, decaySteps })
      : scheduleFactor(schedule, step, common);
  return learningRate * factor;
}

/** The schedules of transformers 5; `linear` and `cosine` also with a floor. */
export type ScheduleName =
  | 'constant'
  | 'linear'
  | 'cosine'
  | 'cosine-early-warmup'
  | 'cosine-restarts'
  | 'polynomial'
  | 'inverse-sqrt'
  | 'wsd';

/** The shape of a rise or a fall over its length. */
export type RampShape = 'linear' | 'cosine' | '1-sqrt';

export interface ScheduleShape {
  readonly steps: number;
  readonly warmupSteps: number;
  /** The factor at the end; default 0. `constant`, `cosine-restarts` and `inverse-sqrt` do not read it. */
  readonly minRatio?: number;
  /** Half waves of `cosine` times a half (0.5 is one fall), whole falls of `cosine-restarts`. */
  readonly cycles?: number;
  /** `polynomial`: default 1. */
  readonly power?: number;
  /** `inverse-sqrt`: default the warm-up, or 10,000 without one. */
  readonly timescale?: number;
  /** `cosine-early-warmup`: the factor at step 0; default 1 / warmupSteps. */
  readonly warmupRatio?: number;
  /** `wsd`: how long the fall is, and how long the rate stays before; by default what the steps leave. */
  readonly decaySteps?: number;
  readonly stableSteps?: number;
  readonly warmupShape?: RampShape;
  readonly decayShape?: RampShape;
}

/** What the peak rate is multiplied with at step 0, 1, ...; beyond `steps` as the formula goes on. */
export function scheduleFactor(name: ScheduleName, step: number, shape: ScheduleShape): number {
  const { steps, warmupSteps, minRatio = 0 } = shape;
  const floored = (factor: number) => Math.max(0, factor * (1 - minRatio) + minRatio);
  if (name === 'cosine-early-warmup') return earlyWarmup(step, shape);
  if (name === 'wsd') return stableDecay(step, shape);
  if (step < warmupSteps) return step / Math.max(1, warmupSteps);
  const progress = (step - warmupSteps) / Math.max(1, steps - warmupSteps);
  switch (name) {
    case 'constant':
      return 1;
    case 'linear':
      return floored(Math.max(0, (steps - step) / Math.max(1, steps - warmupSteps)));
    case 'cosine':
      return floored(wave((shape.cycles ?? 0.5) * 2 * progress));
    case 'cosine-restarts':
      return progress >= 1 ? 0 : wave(((shape.cycles ?? 1) * progress) % 1);
    case 'polynomial':
      return step > steps ? minRatio : (1 - minRatio) * (1 - progress) ** (shape.power ?? 1) + minRatio;
    case 'inverse-sqrt': {
      const timescale = shape.timescale ?? (warmupSteps || 10_000);
      return 1 / Math.sqrt((step + timescale - warmupSteps) / timescale);
    }
  }
}

/** From 1 at 0 to 0 at 1, and on. */
function wave(turns: number): number {
  return Math.max(0, (1 + Math.cos(Math.PI * turns)) / 2);
}

/** A cosine with a floor whose warm-up starts above 0, and which is one step ahead of the others. */
function earlyWarmup(step: number, shape: ScheduleShape): number {
  const { steps, warmupSteps, minRatio = 0, warmupRatio, cycles = 0.5 } = shape;
  if (step < warmupSteps) {
    if (warmupRatio === undefined) return (step + 1) / Math.max(1, warmupSteps);
    return warmupRatio + ((1 - warmupRatio) * step) / Math.max(1, warmupSteps - 1);
  }
  const progress = (step - warmupSteps + 1) / Math.max(1, steps - warmupSteps);
  return Math.max(0, wave(cycles * 2 * progress) * (1 - minRatio) + minRatio);
}

function stableDecay(step: number, shape: ScheduleShape): number {
  const { steps, warmupSteps, minRatio = 0, decaySteps = 0, cycles = 0.5 } = shape;
  const stableSteps = shape.stableSteps ?? steps - warmupSteps - decaySteps;
  const floored = (factor: number) => Math.max(0, factor * (1 - minRatio) + minRatio);
  if (step < warmupSteps) {
    const progress = step / Math.max(1, warmupSteps);
    return floored(fall(shape.warmupShape ?? 'linear', 1 - progress, 0.5));
  }
  const falling = step - warmupSteps - stableSteps;
  if (falling < 0) return 1;
  if (falling >= decaySteps) return minRatio;
  return floored(fall(shape.decayShape ?? 'cosine', falling / Math.max(1, decaySteps), cycles));
}

function fall(shape: RampShape, progress: number, cycles: number): number {
  if (shape === 'linear') return 1 - progress;
  return shape === 'cosine' ? wave(cycles * 2 * progress) : 1 - Math.sqrt(progress);
}

/** Warm-up as a count of steps, or below 1 as a share of them, rounded up (transformers 5). */
export function warmupStepsOf(warmup: number, steps: number): number {
  return warmup >= 1 ? Math.trunc(warmup) : Math.ceil(warmup * steps);
}
