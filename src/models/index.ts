/** Owns the public face of models: what a decoder is, and how it is saved and loaded. */

export * from './adapter.ts';
export { type AdapterConfig, adapterDefaults, parseAdapterConfig } from './adapter-config.ts';
export { adapterBase, mergedModel } from './adapter-merge.ts';
export {
  type AdapterOptions,
  openPolicy,
  openReference,
  type PolicyOptions,
  savePolicy,
  trainedAdapter,
} from './adapter-policy.ts';
export { type AdapterTargets, adapterTargets } from './adapter-targets.ts';
export {
  configToJson,
  type ModelConfig,
  type ModelType,
  padIdOf,
  parseConfig,
  qwen2Traits,
  type RopeScaling,
} from './config.ts';
export type { WeightFormat } from './copied-state.ts';
export { gatheredBytes, type StepContext, type StepPlace, stepContext } from './decode-attention.ts';
export { type Captured, Decoder, type RowLayout } from './decoder.ts';
export {
  type FrozenOptions,
  type LoadOptions,
  loadFrozen,
  loadModel,
  readConfig,
  saveModel,
} from './folder.ts';
export { initialWeights } from './initial-weights.ts';
export { type CacheShape, cacheBytes, KvCache } from './kv-cache.ts';
export { type Reader, readerOf, stepsAreExact } from './reader.ts';
export { readSafetensors, writeSafetensors } from './safetensors.ts';
export { ValueHead } from './value-head.ts';
