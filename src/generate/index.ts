/** Owns the public face of generation: the engine and the sampler. */

export type { Completion, StopReason, TokenStatistics } from './completion.ts';
export { type GenerationOptions, type GenerationRequest, generate } from './engine.ts';

export { type Excluded, filterLogits, type SamplingParameters } from './filters.ts';
export {
  type SampledRows,
  type SampledStatistics,
  type SampledTokens,
  sampleTokens,
  uniformOf,
} from './sampler.ts';
