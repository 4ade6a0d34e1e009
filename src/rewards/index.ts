/** Owns what the rewards folder shows to others. */

export * from './adaptive-weights.ts';
export * from './combine.ts';
export * from './game24.ts';
export * from './game24-task.ts';
export * from './normalisers.ts';
export * from './reward.ts';
export * from './score.ts';
export * from './task.ts';
