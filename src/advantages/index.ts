/** Owns what the advantages folder shows to others. */

export * from './group.ts';
