/** Owns the public face of generation: the engine and the sampler. */

export type { Completion, StopReason } from './completion.ts';
export { type GenerationOptions, type GenerationRequest, generate } from './engine.ts';
export { type SampledTokens, type SamplingParameters, sampleTokens, uniformOf } from './sampler.ts';
