/** Owns learning-rate schedules: a pure function of the step. */

export interface ScheduleOptions {
  readonly steps: number;
  readonly learningRate: number;
  readonly warmupSteps: number;
  readonly schedule: 'constant' | 'linear' | 'cosine';
  /** The rate at the last step over the peak. */
  readonly minLearningRateRatio: number;
}

/** The learning rate of step 1 to `steps`: linear warm-up to the peak at `warmupSteps`, then the decay. */
export function learningRateAt(step: number, options: ScheduleOptions): number {
  const { steps, learningRate, warmupSteps, schedule, minLearningRateRatio } = options;
  if (step <= warmupSteps) return (learningRate * step) / warmupSteps;
  if (schedule === 'constant') return learningRate;
  const progress = Math.min(1, (step - warmupSteps) / Math.max(1, steps - warmupSteps));
  const shape = schedule === 'linear' ? 1 - progress : (1 + Math.cos(Math.PI * progress)) / 2;
  return learningRate * (minLearningRateRatio + (1 - minLearningRateRatio) * shape);
}
