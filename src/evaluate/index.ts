/** Owns what the evaluate folder shows to others. */

export * from './divergence.ts';
export * from './evaluation.ts';
export * from './paired.ts';
export * from './run-evaluation.ts';
