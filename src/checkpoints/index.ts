/** Owns the public face of checkpoints. */

export * from './fingerprint.ts';
export * from './folder.ts';
export * from './manifest.ts';
export * from './model-card.ts';
export * from './model-info.ts';
export * from './trainer.ts';
