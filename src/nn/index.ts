/** Owns the public face of the layers. */

export { normal } from './init.ts';
export { Embedding, Linear, like, RMSNorm, rmsNorm } from './layers.ts';
export { Module, takeParameter } from './module.ts';
