/**
 * Owns what is wrong with a run, read off its metrics: each rule knows one illness, says in a sentence what it saw, and what to
 * try. Reads no file.
 */

import { formatNumber, formatPercent } from '../util/format.ts';
import { mean } from '../util/statistics.ts';
import type { RunStage, StepMetrics } from './read-run.ts';

/** One illness that was found in a stage. */
export interface Finding {
  /** A stable word for programs: `no-reward-spread`, `entropy-collapse`, ... */
  readonly rule: RuleName;
  readonly stage: string;
  /** What was seen, with its numbers. */
  readonly saw: string;
  /** What to try. */
  readonly advice: string;
}

/** Every rule's name. */
export type RuleName =
  | 'no-reward-spread'
  | 'dead-reward'
  | 'dead-reward-part'
  | 'entropy-collapse'
  | 'kl-drift'
  | 'length-explosion'
  | 'truncated-completions'
  | 'clip-share'
  | 'off-policy-ratio'
  | 'value-not-learning'
  | 'engine-mismatch'
  | 'loss-rising'
  | 'overfitting'
  | 'unverifiable'
  | 'gradient-spikes';

type Rule = (steps: Window) => { readonly saw: string; readonly advice: string } | null;

/** A stage's metrics with the questions that rules ask. */
class Window {
  private readonly steps: readonly StepMetrics[];
  constructor(steps: readonly StepMetrics[]) {
    this.steps = steps;
  }

  /** Finite values of a metric in order. */
  all(name: string): number[] {
    return this.steps.flatMap(({ values }) => {
      const value = values.get(name);
      return value === undefined || !Number.isFinite(value) ? [] : [value];
    });
  }

  /** Mean over the first quarter (five steps at least); NaN where the metric is rarer. */
  early(name: string): number {
    const values = this.all(name);
    return values.length < 10 ? Number.NaN : mean(values.slice(0, quarter(values.length)));
  }

  /** Mean over the last quarter. */
  late(name: string): number {
    const values = this.all(name);
    return values.length < 10 ? Number.NaN : mean(values.slice(-quarter(values.length)));
  }

  names(prefix: string): string[] {
    const names = new Set(this.steps.flatMap(({ values }) => [...values.keys()]));
    return [...names].filter((name) => name.startsWith(prefix)).sort();
  }
}

function quarter(count: number): number {
  return Math.max(5, Math.floor(count / 4));
}

const n = (value: number): string => formatNumber(value, 3);

const RULES: readonly (readonly [RuleName, Rule])[] = [
  [
    'no-reward-spread',
    (steps) => {
      const late = steps.late('group/no_spread_share');
      if (!(late > 0.7)) return null;
      const easy = steps.late('accuracy/mean') > 0.5;
      return {
        saw: `in ${formatPercent(late)} of the groups all rewards are equal, so they teach nothing`,
        advice: easy
          ? 'the problems have become too easy: take harder ones, or turn on dynamic sampling (maxDraws)'
          : 'the problems are too hard or the groups too small: raise groupSize or the temperature, begin with more fine-tuning, or add a reward for partial success',
      };
    },
  ],
  [
    'dead-reward',
    (steps) => {
      const rewards = steps.all('reward/mean');
      if (rewards.length < 10) return null;
      const [low, high] = [Math.min(...rewards), Math.max(...rewards)];
      const spread = steps.late('reward/std');
      if (high - low > 1e-9 || spread > 1e-9) return null;
      return {
        saw: `the reward was ${n(low)} in every step, for every completion`,
        advice:
          'read a few rollouts (reckon show --rollouts): the reward does not see what the model does, or the model never does it',
      };
    },
  ],
  [
    'dead-reward-part',
    (steps) => {
      const parts = steps.names('reward/').filter((name) => name !== 'reward/mean' && name !== 'reward/std');
      const dead = parts.filter((name) => {
        const values = steps.all(name);
        return values.length >= 10 && Math.max(...values) - Math.min(...values) < 1e-9;
      });
      if (dead.length === 0 || dead.length === parts.length) return null;
      const names = dead.map((name) => `${name.slice('reward/'.length)} (${n(steps.late(name))})`).join(', ');
      return {
        saw: `parts of the reward never move: ${names}`,
        advice:
          'a part that is always 0 asks for something the model never does, one that is always 1 asks for nothing: change or remove it',
      };
    },
  ],
  [
    'entropy-collapse',
    (steps) => {
      // Fine-tuning is meant to make its demonstrations certain; only what samples for a reward must go on exploring.
      if (steps.all('reward/mean').length === 0) return null;
      const [early, late] = [steps.early('policy/entropy'), steps.late('policy/entropy')];
      if (!(early > 0.02 && late < 0.15 * early)) return null;
      return {
        saw: `entropy fell from ${n(early)} to ${n(late)} nats a token: the policy says nearly the same thing always`,
        advice:
          'lower the learning rate, raise epsilonHigh (clip-higher) or the temperature, or add a KL penalty or an entropy bonus',
      };
    },
  ],
  [
    'kl-drift',
    (steps) => {
      const [early, late] = [steps.early('policy/kl'), steps.late('policy/kl')];
      if (!(late > 0.5 && late > 5 * Math.max(early, 0.01))) return null;
      const better = steps.late('reward/mean') > steps.early('reward/mean') + 0.02;
      return {
        saw: `KL from the reference grew from ${n(early)} to ${n(late)} nats a token${better ? '' : ' while the reward did not grow'}`,
        advice:
          'raise beta or lower the learning rate; read late rollouts for tricks that please the reward alone',
      };
    },
  ],
  [
    'length-explosion',
    (steps) => {
      const [early, late] = [steps.early('completion/length_mean'), steps.late('completion/length_mean')];
      if (!(late > 1.8 * early && late - early > 20)) return null;
      const better = steps.late('accuracy/mean') > steps.early('accuracy/mean') + 0.05;
      if (better && !(steps.late('stop/length') > 0.3)) return null;
      return {
        saw: `completions grew from ${n(early)} to ${n(late)} tokens and accuracy did not grow with them`,
        advice:
          'normalise the loss by a constant instead of each length (Dr. GRPO), or reward shorter answers (soft overlong punishment)',
      };
    },
  ],
  [
    'truncated-completions',
    (steps) => {
      const late = steps.late('stop/length');
      if (!(late > 0.3)) return null;
      return {
        saw: `${formatPercent(late)} of the completions are cut at the length limit and cannot earn the reward of an answer`,
        advice:
          'raise sampling.maxCompletionTokens, mask cut completions, or punish length softly before the limit',
      };
    },
  ],
  [
    'clip-share',
    (steps) => {
      const late = steps.late('policy/clip_fraction');
      if (!(late > 0.3)) return null;
      return {
        saw: `${formatPercent(late)} of the tokens are clipped, so most of each update is thrown away`,
        advice: 'lower the learning rate, or make fewer updates of each batch of rollouts',
      };
    },
  ],
  [
    'off-policy-ratio',
    (steps) => {
      const ratios = steps.all('policy/ratio_mean');
      if (ratios.length < 10) return null;
      const late = steps.late('policy/ratio_mean');
      if (!(Math.abs(late - 1) > 0.1)) return null;
      return {
        saw: `the mean importance ratio is ${n(late)} instead of 1: rollouts are of another policy than the one that learns`,
        advice:
          'make fewer updates of each batch, lower the learning rate, or correct the ratio (truncated importance sampling)',
      };
    },
  ],
  [
    'value-not-learning',
    (steps) => {
      const late = steps.late('value/explained_variance');
      if (!(late < 0.05)) return null;
      return {
        saw: `the value function explains ${n(late)} of the variance of returns: no better than a constant`,
        advice:
          'raise its learning rate or its weight in the loss, warm it up before the policy learns, or use a method without one (GRPO, RLOO)',
      };
    },
  ],
  [
    'engine-mismatch',
    (steps) => {
      const late = steps.late('policy/logp_mismatch_mean');
      if (!(late > 0.02)) return null;
      return {
        saw: `engine and trainer differ by ${n(late)} nats a token on the same completions`,
        advice:
          'sample in the same dtype that is trained in, leave top-p and top-k at 1 and 0, and turn on truncated importance sampling',
      };
    },
  ],
  [
    'loss-rising',
    (steps) => {
      // The loss of a policy gradient is no measure of progress: only supervised stages have no reward.
      if (steps.all('reward/mean').length > 0) return null;
      const [early, late] = [steps.early('loss'), steps.late('loss')];
      if (!(late > 1.1 * early && early > 0)) return null;
      return {
        saw: `the training loss rose from ${n(early)} to ${n(late)}`,
        advice: 'lower the learning rate, lengthen the warm-up, or clip the gradient',
      };
    },
  ],
  [
    'overfitting',
    (steps) => {
      const validation = steps.all('validation/loss');
      if (validation.length < 3) return null;
      const best = Math.min(...validation);
      const last = validation.at(-1)!;
      if (!(last > 1.1 * best)) return null;
      return {
        saw: `the validation loss rose from ${n(best)} at its best to ${n(last)}`,
        advice: 'stop earlier (patience), keep the best checkpoint, or take more data or fewer epochs',
      };
    },
  ],
  [
    'unverifiable',
    (steps) => {
      const late = steps.late('verdict/unverifiable');
      const completions = completionsOf(steps);
      if (!(late > 0 && late > 0.05 * completions)) return null;
      return {
        saw: `${n(late)} of ${n(completions)} completions a step could not be judged and taught nothing`,
        advice:
          'look at their reasons (reckon show --rollouts --verdict unverifiable); give the grader more time or simpler references',
      };
    },
  ],
  [
    'gradient-spikes',
    (steps) => {
      const norms = steps.all('grad_norm');
      if (norms.length < 20) return null;
      const middle = norms.toSorted((a, b) => a - b)[Math.floor(norms.length / 2)]!;
      const spikes = norms.filter((norm) => norm > 10 * middle).length;
      if (!(middle > 0 && spikes >= Math.max(2, 0.02 * norms.length))) return null;
      return {
        saw: `${spikes} of ${norms.length} steps had a gradient more than ten times the median (${n(middle)})`,
        advice: 'clip the gradient lower, lengthen the warm-up, or lower the learning rate',
      };
    },
  ],
];

/** Completions a step; runs from before they were counted have only tokens, prompts and every epoch's included: too many. */
function completionsOf(steps: Window): number {
  const counted = steps.late('rollouts/count');
  if (!Number.isNaN(counted)) return counted;
  return steps.late('batch/tokens') / steps.late('completion/length_mean');
}

/** The names of all rules, in the order in which they are tried. */
export const DIAGNOSIS_RULES: readonly RuleName[] = RULES.map(([name]) => name);

/** What is wrong with each stage that has metrics; a rule needs ten steps that have its metric, unless it says otherwise. */
export function diagnose(stages: readonly RunStage[]): Finding[] {
  return stages.flatMap(({ folder, metrics }) => {
    const window = new Window(metrics);
    return RULES.flatMap(([rule, check]): Finding[] => {
      const found = check(window);
      return found === null ? [] : [{ rule, stage: folder, ...found }];
    });
  });
}

/** Steps that a rule needs. */
const FEWEST_STEPS = 10;

/** What is said where no rule found anything; stages that are too short to be judged are named. */
export function nothingFound(stages: readonly RunStage[]): string {
  const measured = stages.filter(({ metrics }) => metrics.length > 0);
  if (measured.length === 0) return 'No stage has written metrics yet.';
  const short = measured.filter(({ metrics }) => metrics.length < FEWEST_STEPS).map(({ folder }) => folder);
  if (short.length === measured.length)
    return `Nothing can be said yet: a rule needs ${FEWEST_STEPS} steps, and no stage has as many.`;
  const unjudged =
    short.length === 0 ? '' : ` Below ${FEWEST_STEPS} steps, and not judged: ${short.join(', ')}.`;
  return `No rule found anything wrong with the training.${unjudged}`;
}
