/** Owns the public face of generation: the engine and the sampler. */

export type { Completion, StopReason } from './completion.ts';
export { type GenerationOptions, type GenerationRequest, generate } from './engine.ts';

export { filterLogits, type SamplingParameters } from './filters.ts';
export { type SampledTokens, sampleTokens, uniformOf } from './sampler.ts';
