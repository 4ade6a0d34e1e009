/** Owns the public API: every part of the pipeline in its order, each also importable alone (`reckon/losses`). */
// biome-ignore-all assist/source/organizeImports: the order is the pipeline's

export * as util from './util/index.ts';
export * as torch from './torch/index.ts';
export * as nn from './nn/index.ts';
export * as models from './models/index.ts';
export * as text from './text/index.ts';
export * as generate from './generate/index.ts';
export * as data from './data/index.ts';
export * as prompts from './prompts/index.ts';
export * as rollouts from './rollouts/index.ts';
export * as rewards from './rewards/index.ts';
export * as advantages from './advantages/index.ts';
export * as losses from './losses/index.ts';
export * as optim from './optim/index.ts';
export * as checkpoints from './checkpoints/index.ts';
export * as evaluate from './evaluate/index.ts';
export * as report from './report/index.ts';
export * as track from './track/index.ts';
export * as train from './train/index.ts';
export * as recipe from './recipe/index.ts';
export * as run from './run/index.ts';
