/** Owns the public face of checkpoints. */

export * from './folder.ts';
export * from './manifest.ts';
export * from './trainer.ts';
