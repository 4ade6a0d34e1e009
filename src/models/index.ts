/** Owns the public face of models: what a decoder is, and how it is saved and loaded. */

export { cacheMask } from './attention.ts';
export { configToJson, type ModelConfig, parseConfig } from './config.ts';
export { type Captured, Decoder, initialWeights, type StepContext } from './decoder.ts';
export { type LoadOptions, loadModel, readConfig, saveModel } from './folder.ts';
export { type CacheShape, KvCache } from './kv-cache.ts';
export { readSafetensors, writeSafetensors } from './safetensors.ts';
