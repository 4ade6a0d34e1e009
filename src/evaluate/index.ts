/** Owns what the evaluate folder shows to others. */

export * from '../text/reasoning.ts';
export * from './analysis.ts';
export * from './answer-set.ts';
export * from './answers.ts';
export * from './arithmetic.ts';
export * from './compare.ts';
export * from './details.ts';
export * from './distance.ts';
export * from './divergence.ts';
export * from './error-class.ts';
export * from './evaluation.ts';
export * from './history.ts';
export * from './intervals.ts';
export * from './paired.ts';
export * from './resumable.ts';
export * from './rows.ts';
export * from './run-evaluation.ts';
export * from './votes.ts';
