/** Owns the public face of optimization. */

export { AdamW, type AdamWOptions, decaysByDefault } from './adamw.ts';
export { clipGradNorm } from './clip.ts';
export {
  learningRateAt,
  type RampShape,
  type ScheduleName,
  type ScheduleOptions,
  type ScheduleShape,
  scheduleFactor,
  warmupStepsOf,
} from './schedule.ts';
