/** Owns what the advantages folder shows to others. */

export * from './estimate.ts';
export * from './gae.ts';
export * from './group.ts';
export * from './returns.ts';
export * from './running.ts';
export * from './token-rewards.ts';
export * from './whiten.ts';
