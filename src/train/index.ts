/** Owns the public face of training: one whole loop a method. */

export type { ResolvedCompute, StageContext, StageOutcome } from './context.ts';
export { type DistillationData, type DistillOptions, trainDistill } from './distill.ts';
export { type DpoOptions, type PairSource, trainDpo } from './dpo.ts';
export { type ExpertIterationOptions, trainExpertIteration } from './expert-iteration.ts';
export { type GrpoOptions, trainGrpo } from './grpo.ts';
export { cutMicroBatches, type MicroBatch, type TrainingSequence } from './micro-batches.ts';
export { accumulatePolicyGradient, type PolicySequence, type PolicyUpdate } from './policy-update.ts';
export { type PpoOptions, trainPpo } from './ppo.ts';
export type { TrainContext } from './session.ts';
export { type SftOptions, trainSft } from './sft.ts';
