/** Owns the public face of the utilities that user code needs: errors, seeded random streams, exact fractions, statistics. */

export * from './errors.ts';
export * from './fraction.ts';
export { Rng } from './rng.ts';
export * from './statistics.ts';
