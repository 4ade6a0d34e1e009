/** Owns the one table of metric names with unit and meaning; knows nothing of who measures or reads them. */

/** What one metric is. `better` is left out where neither direction is good in itself. */
export interface MetricInfo {
  /** '' for plain numbers, 'share' for [0, 1], else the unit ('s', 'bytes', 'tokens', 'nats'). */
  readonly unit: string;
  readonly description: string;
  readonly better?: 'higher' | 'lower';
}

/** Every fixed metric name. The parts of a reward (`reward/<part>`) are named by the recipe and described by {@link metricInfo}. */
export const METRICS = {
  loss: { unit: '', description: 'Loss that the optimizer minimised', better: 'lower' },
  learning_rate: { unit: '', description: 'Learning rate of the step' },
  grad_norm: { unit: '', description: 'Norm of the gradient before clipping' },
  'reward/mean': { unit: '', description: 'Mean weighted reward of the completions', better: 'higher' },
  'reward/std': { unit: '', description: 'Standard deviation of the reward over the completions' },
  'accuracy/mean': { unit: 'share', description: 'Completions judged correct', better: 'higher' },
  'format/mean': { unit: 'share', description: "Completions that keep the task's format", better: 'higher' },
  'policy/kl': { unit: 'nats', description: 'KL divergence from the reference policy, a token' },
  'policy/entropy': { unit: 'nats', description: 'Entropy of the policy, a token' },
  'policy/ratio_mean': { unit: '', description: 'Mean importance ratio of new to old policy' },
  'policy/clip_fraction': { unit: 'share', description: 'Tokens whose importance ratio was clipped' },
  'policy/logp_mismatch_mean': {
    unit: 'nats',
    description: 'Mean |log-probability in the engine - in the trainer|',
    better: 'lower',
  },
  'policy/logp_mismatch_max': {
    unit: 'nats',
    description: 'Largest |log-probability in the engine - in the trainer|',
    better: 'lower',
  },
  'policy/importance_mean': {
    unit: '',
    description: 'Mean weight of a token for policy over sampler (top-p, rounded weights), as bounded',
  },
  'policy/importance_max': { unit: '', description: 'Largest of these weights' },
  'policy/entropy_coefficient': { unit: '', description: 'Weight of the entropy bonus as it is steered' },
  'policy/kl_coefficient': { unit: '', description: 'Weight of the KL penalty of a token in its reward' },
  'value/loss': {
    unit: '',
    description: 'Half the squared error of the value function, clipped',
    better: 'lower',
  },
  'value/clip_fraction': { unit: 'share', description: 'Tokens whose value was clipped' },
  'value/mean': { unit: '', description: "Mean value of a token's state before the updates" },
  'value/return_mean': { unit: '', description: 'Mean return that the value function is trained towards' },
  'value/explained_variance': {
    unit: '',
    description:
      'Share of the variance of returns that the values explain; negative is worse than a constant',
    better: 'higher',
  },
  'intrinsic/reward_mean': { unit: '', description: 'Mean intrinsic reward of a token, before its weight' },
  'intrinsic/reward_std': { unit: '', description: 'Standard deviation of the intrinsic reward of a token' },
  'intrinsic/unknown': { unit: '', description: 'Last tokens whose next state the teacher did not see' },
  'perf/score_cache_hit_rate': {
    unit: 'share',
    description: "Tokens whose teacher's score was in the cache",
    better: 'higher',
  },
  'perf/score_cache_evictions': { unit: '', description: 'Scores dropped from the cache so far' },
  'perf/score_cache_bytes': { unit: 'bytes', description: 'Size of the scores in the cache' },
  'advantage/abs_mean': { unit: '', description: 'Mean absolute advantage' },
  'group/no_spread_share': {
    unit: 'share',
    description: 'Groups whose rewards are all equal',
    better: 'lower',
  },
  'completion/length_mean': { unit: 'tokens', description: 'Mean length of a completion' },
  'completion/length_max': { unit: 'tokens', description: 'Length of the longest completion' },
  'stop/eos': { unit: 'share', description: 'Completions that ended with the end-of-sequence id' },
  'stop/stop': { unit: 'share', description: 'Completions that ended with a stop string' },
  'stop/length': { unit: 'share', description: 'Completions cut at the length limit', better: 'lower' },
  'preference/reward_chosen': {
    unit: '',
    description: "Mean of the chosen completions' implicit reward: beta times policy over reference, in logs",
  },
  'preference/reward_rejected': { unit: '', description: 'The same of the rejected completions' },
  'preference/pairs': { unit: '', description: 'Pairs that the step learned from' },
  'preference/margin': {
    unit: '',
    description: 'Implicit reward of chosen minus rejected completions',
    better: 'higher',
  },
  'preference/accuracy': {
    unit: 'share',
    description: 'Pairs whose chosen completion has the larger implicit reward',
    better: 'higher',
  },
  'preference/logp_chosen': { unit: 'nats', description: 'Log-probability of a chosen completion' },
  'preference/logp_rejected': { unit: 'nats', description: 'Log-probability of a rejected completion' },
  'preference/nll_chosen': {
    unit: 'nats',
    description: 'Cross-entropy of the chosen completions, a token',
    better: 'lower',
  },
  'preference/kto_zero': {
    unit: 'nats',
    description: "KTO's reference point: the log-ratio of completions under prompts that are not theirs",
  },
  'distillation/on_policy': { unit: 'share', description: 'Steps whose completions the student sampled' },
  'rollouts/count': { unit: '', description: 'Completions that were judged' },
  'rollouts/draws': {
    unit: '',
    description: 'Draws of problems until the step was full of groups with spread',
  },
  'rollouts/generated_tokens': {
    unit: 'tokens',
    description: 'Completion tokens sampled so far, those that were not learned from included',
  },
  'rollouts/replayed': { unit: '', description: 'Completions of earlier steps learned from again' },
  'rollouts/replay_age': { unit: '', description: 'Mean age in steps of their groups' },
  'rollouts/kept': { unit: '', description: 'Correct completions kept for fine-tuning' },
  'batch/tokens': { unit: 'tokens', description: 'Tokens in the step, padding left out' },
  'batch/padding_share': {
    unit: 'share',
    description: 'Positions of the batch that are padding',
    better: 'lower',
  },
  'evaluation/pass_at_1': {
    unit: 'share',
    description: 'Samples of held-out problems judged correct, measured on the way to a budget',
    better: 'higher',
  },
  'time/evaluation_s': {
    unit: 's',
    description: 'Time spent on that measurement, no part of the step',
    better: 'lower',
  },
  'time/step_s': { unit: 's', description: 'Time of the whole step', better: 'lower' },
  'time/cpu_s': {
    unit: 's',
    description:
      'Processor time of the whole step, all threads together: what other work beside it does not change',
    better: 'lower',
  },
  'time/rollout_s': {
    unit: 's',
    description: 'Time spent sampling and judging completions',
    better: 'lower',
  },
  'time/update_s': { unit: 's', description: 'Time spent on loss, gradient and optimizer', better: 'lower' },
  'perf/tokens_per_s': { unit: 'tokens/s', description: 'Tokens of the step by its time', better: 'higher' },
  'memory/live_tensors': { unit: '', description: 'Tensor handles alive after the step' },
  'memory/rss_bytes': { unit: 'bytes', description: 'Resident memory of the process', better: 'lower' },
  'memory/device_peak_bytes': {
    unit: 'bytes',
    description: "Most that tensors have held so far of the policy's GPU",
    better: 'lower',
  },
  'validation/loss': { unit: '', description: 'Loss on the validation split', better: 'lower' },
  'validation/accuracy': { unit: 'share', description: 'Validation problems solved', better: 'higher' },
  'validation/format': {
    unit: 'share',
    description: "Validation completions that keep the task's format",
    better: 'higher',
  },
  'verdict/unverifiable': { unit: '', description: 'Completions that could not be judged', better: 'lower' },
} as const;

/** A metric name: one of the table's, or a part of the reward. */
export type MetricName = keyof typeof METRICS | `reward/${string}`;

/** Metrics of one step; null says that a metric has no value there (no reference policy, so no KL). */
export type MetricRecord = { readonly [name in MetricName]?: number | null };

const FIXED: ReadonlyMap<string, MetricInfo> = new Map(Object.entries(METRICS));

/** Whether a string is a metric name. */
export function isMetricName(name: string): name is MetricName {
  return FIXED.has(name) || (name.startsWith('reward/') && name.length > 'reward/'.length);
}

/** Unit and meaning of a metric, the parts of the reward included. */
export function metricInfo(name: MetricName): MetricInfo {
  return (
    FIXED.get(name) ?? {
      unit: '',
      description: `Mean of the reward's part "${name.slice('reward/'.length)}", before its weight`,
      better: 'higher',
    }
  );
}
