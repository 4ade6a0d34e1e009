/** Owns the public face of the utilities that user code needs: errors, seeded random streams, exact fractions, statistics. */

export * from './arithmetic.ts';
export * from './errors.ts';
export * from './fraction.ts';
export * from './polynomial.ts';
export { formatR, type Rational, rational } from './rational.ts';
export { Rng } from './rng.ts';
export * from './statistics.ts';
