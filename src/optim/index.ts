/** Owns the public face of optimization. */

export { AdamW, type AdamWOptions } from './adamw.ts';
export { clipGradNorm } from './clip.ts';
export { learningRateAt, type ScheduleOptions } from './schedule.ts';
