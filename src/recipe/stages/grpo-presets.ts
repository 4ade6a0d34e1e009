/** Owns the named members of GRPO's family: each is data over one loss and one estimator. Computes nothing. */

import type { GrpoSwitches } from './grpo.ts';

/** What a name sets; an explicit key of the stage wins over it. */
export type GrpoPreset = Partial<GrpoSwitches>;

export type GrpoPresetName =
  | 'grpo'
  | 'grpo-paper'
  | 'bnpo'
  | 'a5'
  | 'dr-grpo'
  | 'dapo'
  | 'gspo'
  | 'gspo-token'
  | 'cispo'
  | 'sapo'
  | 'gmpo'
  | 'luspo'
  | 'vespo'
  | 'rloo'
  | 'reinforce'
  | 'reinforce-baseline'
  | 'reinforce-pp'
  | 'reinforce-pp-baseline';

type Advantages = GrpoSwitches['advantages'];
const group: Advantages = {
  baseline: 'group',
  scale: 'group',
  epsilon: 1e-4,
  ddof: 1,
  whiten: false,
  maxMomentum: 0,
};
const unscaled: Advantages = { ...group, scale: 'none' };

/** Sources and what we checked are in docs/papers.md. */
export const grpoPresets: Readonly<Record<GrpoPresetName, GrpoPreset>> = {
  /** Group std with ddof 1 and epsilon 1e-4, tokens denominator: TRL's arithmetic, our defaults. */
  grpo: {},
  /** Shao et al. 2024: a mean per sequence, and a KL term in the loss. */
  'grpo-paper': {
    lossDenominator: 'sequences',
    kl: { beta: 0.04, estimator: 'k3', corrected: false, place: 'loss' },
    reference: 'start',
  },
  /** TRL's name for a mean over the tokens of a batch, which here is never a micro-batch: the defaults. */
  bnpo: {},
  /** CS336 assignment 5. */
  a5: { lossDenominator: 'sequences', advantages: { ...group, epsilon: 1e-6 } },
  /** Liu et al. 2025: no division by the std, nor by the length. */
  'dr-grpo': { lossDenominator: 'constant', advantages: unscaled },
  /** Yu et al. 2025: clip-higher, token-level loss, dynamic sampling, cut-off completions do not count. */
  dapo: {
    clip: { low: 0.2, high: 0.28, cap: null, dual: null },
    maskTruncated: true,
    maxDraws: 4,
  },
  /** Zheng et al. 2025: one ratio a sequence. */
  gspo: {
    ratioLevel: 'sequence',
    clip: { low: 3e-4, high: 4e-4, cap: null, dual: null },
    lossDenominator: 'sequences',
  },
  'gspo-token': {
    ratioLevel: 'sequence-token',
    clip: { low: 3e-4, high: 4e-4, cap: null, dual: null },
    lossDenominator: 'sequences',
  },
  /** MiniMax 2025: the ratio is a clipped weight, not a bound on the gradient. */
  cispo: { objective: 'cispo', clip: { low: 0.2, high: 5, cap: null, dual: null } },
  /** A sigmoid gate in place of the clip. */
  sapo: { objective: 'sapo', lossDenominator: 'sequences' },
  /** The geometric mean of the ratios of a sequence. */
  gmpo: {
    objective: 'gmpo',
    clip: { low: 0.4, high: 0.4, cap: null, dual: null },
    lossDenominator: 'sequences',
  },
  /** GSPO weighted by length. */
  luspo: {
    ratioLevel: 'sequence',
    clip: { low: 3e-4, high: 4e-4, cap: null, dual: null },
    lossDenominator: 'token-sums',
  },
  vespo: { objective: 'vespo' },
  /** Ahmadian et al. 2024, as TRL has it: KL in the reward, one ratio a sequence. */
  rloo: {
    ratioLevel: 'sequence-product',
    lossDenominator: 'sequences',
    advantages: { ...unscaled, baseline: 'leave-one-out' },
    kl: { beta: 0.05, estimator: 'k1', corrected: false, place: 'reward' },
    reference: 'start',
  },
  /** Williams 1992; A5's `no_baseline`. */
  reinforce: {
    objective: 'reinforce',
    lossDenominator: 'sequences',
    advantages: { ...unscaled, baseline: 'none' },
  },
  /** A5's `reinforce_with_baseline`. */
  'reinforce-baseline': {
    objective: 'reinforce',
    lossDenominator: 'sequences',
    advantages: { ...group, epsilon: 1e-6 },
  },
  /** Hu 2025: no group baseline; KL in the reward of each token, what is to come, whitened over all tokens. */
  'reinforce-pp': {
    advantages: { ...unscaled, baseline: 'none', whiten: 'tokens' },
    kl: { beta: 0.01, estimator: 'k1', corrected: false, place: 'tokens' },
    reference: 'start',
  },
  'reinforce-pp-baseline': { advantages: { ...unscaled, whiten: 'tokens' } },
};

export const grpoPresetNames: readonly GrpoPresetName[] = Object.keys(grpoPresets) as GrpoPresetName[];
