/** Owns what the track folder shows to the others. */

export * from './metric-names.ts';
export * from './metrics.ts';
export * from './progress.ts';
