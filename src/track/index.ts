/** Owns what the track folder shows to the others. */

export * from './best-steps.ts';
export * from './metric-names.ts';
export * from './metrics.ts';
export * from './progress.ts';
