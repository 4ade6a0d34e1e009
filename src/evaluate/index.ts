/** Owns what the evaluate folder shows to others. */

export * from './evaluation.ts';
