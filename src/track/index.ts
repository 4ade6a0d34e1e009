/** Owns what the track folder shows to the others. */

export * from './best-steps.ts';
export { readEvents, type TrackEvent } from './event-records.ts';
export * from './follow.ts';
export * from './metric-names.ts';
export * from './metrics.ts';
export * from './progress.ts';
export * from './tensorboard.ts';
export * from './tracker.ts';
export * from './wandb.ts';
