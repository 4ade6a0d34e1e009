/** Owns the public face of the layers and their adapters. */

export {
  activeAdapter,
  adapterNames,
  adapterParameters,
  layersOf,
  mergeAdapter,
  mergedParameters,
  removeAdapter,
  trainableParameters,
  unmergeAdapter,
  useAdapter,
  withAdapter,
  withDropout,
} from './adapters.ts';
export { normal, uniform } from './init.ts';
export { Layer, type LayerAdapter } from './layer.ts';
export { Embedding, Head, Linear, like, RMSNorm, scaleName } from './layers.ts';
export { LowRank, type LowRankParts, lowRankNames, rowLengths } from './low-rank.ts';
export { Module, takeParameter } from './module.ts';
export { NormedProjection } from './normed-projection.ts';
export { PackedCopy } from './packed-copy.ts';
