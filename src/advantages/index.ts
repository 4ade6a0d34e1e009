/** Owns what the advantages folder shows to others. */

export * from './gae.ts';
export * from './group.ts';
export * from './token-rewards.ts';
export * from './whiten.ts';
