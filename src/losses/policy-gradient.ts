/**
 * Owns the policy-gradient loss of GRPO's family as one pure function of log-probabilities, its members told apart by
 * data; knows neither models nor rewards. Sources: Schulman et al. 2017 (clipping), Shao et al. 2024 (GRPO), Yu et al.
 * 2025 (DAPO), Zheng et al. 2025 (GSPO), MiniMax 2025 (CISPO); docs/papers.md lists all.
 */

import { noGrad, type Tensor } from '../torch/index.ts';
import type { ImportanceOptions } from './importance.ts';
import { type KlEstimator, klPerToken } from './kl.ts';
import { type PolicyObjective, policyPerToken } from './policy-objectives.ts';
import { type RatioLevel, ratioPerToken } from './ratios.ts';
import { type Rows, rowMeans, spreadRows } from './rows.ts';

/** One number a token for everything; all [N] and of one dtype. */
export interface PolicyGradientInputs {
  readonly logps_N: Tensor;
  /** Of the policy that the rollouts are counted as coming from. */
  readonly oldLogps_N: Tensor;
  /** Null where there is no reference policy. */
  readonly referenceLogps_N: Tensor | null;
  readonly advantages_N: Tensor;
  /** What each token's loss is multiplied with before the sum: `lossWeights` gives the denominators of the field. */
  readonly weights_N: Tensor;
  /** Which sequence a token belongs to; needed where a ratio or a mask is one of a whole sequence. */
  readonly rows?: Rows;
  /** Factors of the policy term alone: a mask of high entropies. */
  readonly policyWeights_N?: Tensor;
  /** What tokens count that another policy sampled (`importanceWeights`): of the policy term too; VESPO has it inside. */
  readonly importance?: { readonly weights_N: Tensor; readonly level: ImportanceOptions['level'] };
  /** What was sampled from, where that is not the old policy: only the off-policy mask reads it. */
  readonly samplingLogps_N?: Tensor;
  /** For the entropy bonus: entropies with their graph, and what each is multiplied with before the sum. */
  readonly entropies_N?: Tensor;
  readonly entropyWeights_N?: Tensor;
}

export interface PolicyGradientOptions {
  /** The term that is maximised; the clipped surrogate by default. */
  readonly objective?: PolicyObjective;
  /** Of what the importance ratio is: of each token by default. */
  readonly ratioLevel?: RatioLevel;
  /** The ratio is clipped to [1 - low, 1 + high]; `cap` bounds it for positive and negative advantages alike (two-sided
   * clipping, INTELLECT-2), `dual` bounds the loss of negative advantages at dual x |A| (Ye et al. 2020). */
  readonly clip: {
    readonly low: number;
    readonly high: number;
    readonly cap?: number | null;
    readonly dual?: number | null;
  };
  readonly kl: {
    readonly beta: number;
    readonly estimator: KlEstimator;
    /** Multiplies the estimate with the ratio, so that its expectation is over the policy of now. */
    readonly corrected?: boolean;
  };
  /** Sequences with a negative advantage whose mean KL(old || policy) is above it do not count (DeepSeek-V3.2). */
  readonly offPolicyThreshold?: number | null;
  /** Weight of the entropy bonus. */
  readonly entropyCoefficient?: number;
}

export interface PolicyGradientLoss {
  /** sum_t w_t (policy_t + beta KL_t) - coefficient sum_t v_t H_t: a scalar with a graph. */
  readonly loss: Tensor;
  /** Sums over tokens, detached: divide by the number of tokens. */
  readonly sums: { readonly ratio: Tensor; readonly clipped: Tensor; readonly kl: Tensor | undefined };
  /** One number a token, detached; a clipped token is one whose bound is active against its advantage. */
  readonly tokens: {
    readonly ratio_N: Tensor;
    readonly clippedLow_N: Tensor;
    readonly clippedHigh_N: Tensor;
    readonly kl_N: Tensor | undefined;
  };
}

/** The loss of one micro-batch; summed over micro-batches it does not depend on how they were cut. */
export function policyGradientLoss(
  inputs: PolicyGradientInputs,
  options: PolicyGradientOptions,
): PolicyGradientLoss {
  const { logps_N, oldLogps_N, referenceLogps_N, weights_N, policyWeights_N, importance } = inputs;
  const ratio_N = ratioPerToken(logps_N, oldLogps_N, options.ratioLevel ?? 'token', inputs.rows);
  const policy = policyPerToken(inputs, ratio_N, options);
  let perToken_N = policy.loss_N;
  const objective = options.objective?.name;
  // The geometric mean has its mask inside.
  if (policyWeights_N && objective !== 'gmpo') perToken_N = perToken_N.mul(policyWeights_N);
  if (importance && objective !== 'vespo') perToken_N = perToken_N.mul(importance.weights_N);
  const offPolicy = offPolicyMask(inputs, options);
  if (offPolicy) perToken_N = perToken_N.mul(offPolicy);
  const kl_N = referenceLogps_N && correctedKl(logps_N, referenceLogps_N, ratio_N, options);
  if (kl_N && options.kl.beta !== 0) perToken_N = perToken_N.add(kl_N, options.kl.beta);
  let loss = perToken_N.mul(weights_N).sum();
  const { entropies_N, entropyWeights_N } = inputs;
  if (options.entropyCoefficient && entropies_N && entropyWeights_N)
    loss = loss.sub(entropies_N.mul(entropyWeights_N).sum().mul(options.entropyCoefficient));
  const tokens = noGrad(() => ({
    ratio_N: ratio_N.detach(),
    clippedLow_N: policy.clippedLow_N,
    clippedHigh_N: policy.clippedHigh_N,
    kl_N: kl_N?.detach(),
  }));
  const sums = noGrad(() => ({
    ratio: tokens.ratio_N.sum(),
    clipped: tokens.clippedLow_N.sum().add(tokens.clippedHigh_N.sum()),
    kl: tokens.kl_N?.sum(),
  }));
  return { loss, sums, tokens };
}

function correctedKl(
  logps_N: Tensor,
  referenceLogps_N: Tensor,
  ratio_N: Tensor,
  { kl }: PolicyGradientOptions,
): Tensor {
  const estimate_N = klPerToken(logps_N, referenceLogps_N, kl.estimator);
  return kl.corrected ? estimate_N.mul(ratio_N) : estimate_N;
}

/** 1 where a sequence counts: a non-negative advantage, or a policy still near what was sampled. */
function offPolicyMask(
  { logps_N, oldLogps_N, samplingLogps_N, advantages_N, rows }: PolicyGradientInputs,
  { offPolicyThreshold }: PolicyGradientOptions,
): Tensor | null {
  if (offPolicyThreshold === undefined || offPolicyThreshold === null) return null;
  if (!rows) throw new TypeError('the off-policy mask needs rows');
  return noGrad(() => {
    const kl_R = rowMeans((samplingLogps_N ?? oldLogps_N).sub(logps_N.detach()), rows);
    const drifted_N = spreadRows(kl_R, rows).gt(offPolicyThreshold);
    return drifted_N.logicalAnd(advantages_N.lt(0)).logicalNot().to(logps_N.dtype);
  });
}

/** What the summed token losses of a batch are divided by. */
export type LossDenominator = 'tokens' | 'sequences' | 'constant' | 'token-sums';

/**
 * The weight of a token of each sequence: `tokens` 1 / all completion tokens of the optimizer batch (DAPO, TRL's
 * default), `sequences` 1 / (sequences x own length) (the GRPO paper), `constant` 1 / (sequences x longest allowed
 * completion) (Dr. GRPO), `token-sums` 1 / sequences (LUSPO). Lengths are those of the whole optimizer batch, not of a
 * micro-batch.
 */
export function lossWeights(
  lengths: readonly number[],
  denominator: LossDenominator,
  longest: number,
): number[] {
  const total = lengths.reduce((sum, length) => sum + length, 0);
  return lengths.map((length) => {
    if (denominator === 'tokens') return 1 / Math.max(1, total);
    if (denominator === 'sequences') return 1 / (lengths.length * Math.max(1, length));
    if (denominator === 'token-sums') return 1 / lengths.length;
    return 1 / (lengths.length * longest);
  });
}
