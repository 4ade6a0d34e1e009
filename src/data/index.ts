/** Owns what the data folder shows to others. */

export * from './game24.ts';
export * from './game24-solver.ts';
export * from './game24-traces.ts';
export * from './packing.ts';
export * from './problem.ts';
