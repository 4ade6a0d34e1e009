/** Owns the public face of the layers. */

export { normal } from './init.ts';
export { Embedding, Linear, like, RMSNorm } from './layers.ts';
export { Module, takeParameter } from './module.ts';
export { NormedProjection } from './normed-projection.ts';
