/** Owns the public face of losses: pure functions of log-probabilities. */

export { type KlEstimator, klPerToken } from './kl.ts';
export {
  type LossDenominator,
  lossWeights,
  type PolicyGradientInputs,
  type PolicyGradientLoss,
  type PolicyGradientOptions,
  policyGradientLoss,
} from './policy-gradient.ts';
export { backwardThroughLogps, type TokenLogpOptions, type TokenLogps, tokenLogps } from './token-logps.ts';
