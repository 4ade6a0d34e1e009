/** Owns the public face of losses: pure functions of log-probabilities. */

export {
  backwardThroughDivergence,
  type DivergenceOptions,
  type DivergenceSums,
  divergenceTerms,
  type PredictingStates,
} from './distillation.ts';
export { type AdaptiveEntropyOptions, adaptEntropyCoefficient, highEntropyMask } from './entropy.ts';
export { type ImportanceOptions, importanceWeights } from './importance.ts';
export { type KlEstimator, klPerToken } from './kl.ts';
export { type JudgedRatios, type KtoLoss, type KtoOptions, ktoLoss, ktoZeroPoint } from './kto.ts';
export { maskedMean, maskedNormalize } from './masked.ts';
export { type CpoOptions, cpoLoss, type OrpoLoss, orpoLoss } from './orpo.ts';
export {
  type LossDenominator,
  lossWeights,
  type PolicyGradientInputs,
  type PolicyGradientLoss,
  type PolicyGradientOptions,
  policyGradientLoss,
} from './policy-gradient.ts';
export { gammaWeights, type PolicyObjective } from './policy-objectives.ts';
export {
  type PairValues,
  type PreferenceDivergence,
  type PreferenceLoss,
  type PreferenceLossKind,
  type PreferenceOptions,
  type PreferencePairs,
  type PreferenceTerm,
  preferenceLoss,
} from './preference.ts';
export { type MarginLoss, type MarginOptions, marginLoss } from './preference-margins.ts';
export { alignedLogps, desensitisedWeights } from './preference-weights.ts';
export type { RatioLevel } from './ratios.ts';
export { type Rows, rowMeans, rowSums, spreadRows } from './rows.ts';
export { type SupervisedLoss, supervisedLoss } from './supervised.ts';
export {
  backwardThroughLogps,
  backwardThroughTokenLosses,
  type TokenLogpOptions,
  type TokenLogps,
  termsOfLogits,
  tokenLogps,
} from './token-logps.ts';
export { type ValueInputs, type ValueLoss, valueLoss } from './value.ts';
