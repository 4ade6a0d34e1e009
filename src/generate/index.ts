/** Owns the public face of generation: the engines and the sampler. */

export type { Completion, StopReason, TokenStatistics } from './completion.ts';
export type { Engine, GenerationOptions, GenerationRequest } from './engine.ts';
export { type Excluded, filterLogits } from './filters.ts';
export { engineOf, generate, localEngine } from './local.ts';
export { RemoteClient, type RemoteOptions } from './remote/client.ts';
export { type RemoteModel, remoteEngine } from './remote/engine.ts';
export { type ProbeOptions, PublishedPolicy, type PublishedVersion } from './remote/published.ts';
export {
  type SampledRows,
  type SampledStatistics,
  type SampledTokens,
  sampleTokens,
  uniformOf,
} from './sampler.ts';
export { type SamplingParameters, type SamplingShape, samplerDiffers } from './sampling.ts';
export { policyVocabulary } from './vocabulary.ts';
