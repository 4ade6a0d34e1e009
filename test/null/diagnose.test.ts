/** Owns the tests of the diagnosis: a made run for each illness has that finding, and a healthy one has none. */

import { describe, expect, test } from 'vitest';
import { DIAGNOSIS_RULES, diagnose, nothingFound, type RuleName } from '../../src/report/diagnosis.ts';
import type { RunStage } from '../../src/report/read-run.ts';
import { stabilityOf, trainingFacts } from '../../src/report/training-facts.ts';
import { isMetricName } from '../../src/track/metric-names.ts';

type Series = Readonly<Record<string, number | ((progress: number, step: number) => number)>>;

/** A stage of 100 steps; `progress` goes from 0 to 1. */
function stage(series: Series, steps = 100): RunStage {
  const metrics = Array.from({ length: steps }, (_, i) => {
    const values = Object.entries(series).map(
      ([name, value]) => [name, typeof value === 'number' ? value : value(i / (steps - 1), i + 1)] as const,
    );
    return { step: i + 1, values: new Map(values) };
  });
  return { folder: '03-grpo', name: 'grpo', status: 'done', metrics };
}

/** A reinforcement stage as it should be: reward and accuracy grow, the rest stays within bounds. */
const HEALTHY: Series = {
  loss: (_, step) => 0.01 * Math.sin(step),
  'reward/mean': (p) => 0.2 + 0.5 * p,
  'reward/std': 0.4,
  'reward/correct': (p) => 0.2 + 0.5 * p,
  'reward/format': (p) => 0.7 + 0.2 * p,
  'accuracy/mean': (p) => 0.2 + 0.5 * p,
  'policy/entropy': (p) => 0.6 - 0.3 * p,
  'policy/kl': (p) => 0.05 * p,
  'policy/ratio_mean': 1.001,
  'policy/clip_fraction': 0.03,
  'policy/logp_mismatch_mean': 0.001,
  'completion/length_mean': (p) => 60 + 10 * p,
  'stop/length': 0.02,
  'group/no_spread_share': (p) => 0.2 + 0.1 * p,
  'value/explained_variance': (p) => 0.1 + 0.6 * p,
  'verdict/unverifiable': 0,
  'rollouts/count': 64,
  'batch/tokens': 4000,
  grad_norm: (_, step) => 1 + 0.2 * Math.cos(step),
};

const SUPERVISED: Series = {
  loss: (p) => 2 - 1.5 * p,
  'validation/loss': (p) => 2.1 - 1.4 * p,
  'batch/tokens': 5000,
  grad_norm: 0.7,
};

/** What each illness does to a healthy stage. */
const ILLNESSES: readonly (readonly [RuleName, Series])[] = [
  ['no-reward-spread', { ...HEALTHY, 'group/no_spread_share': (p) => 0.4 + 0.55 * p }],
  [
    'dead-reward',
    {
      ...HEALTHY,
      'reward/mean': 0,
      'reward/std': 0,
      'reward/correct': 0,
      'reward/format': 0,
      'accuracy/mean': 0,
    },
  ],
  ['dead-reward-part', { ...HEALTHY, 'reward/format': 1 }],
  ['entropy-collapse', { ...HEALTHY, 'policy/entropy': (p) => 0.6 * Math.exp(-6 * p) }],
  ['kl-drift', { ...HEALTHY, 'policy/kl': (p) => 2 * p ** 2 }],
  [
    'length-explosion',
    {
      ...HEALTHY,
      'completion/length_mean': (p) => 60 + 300 * p,
      'accuracy/mean': 0.3,
      'reward/mean': (p) => 0.3 + 0.01 * p,
    },
  ],
  ['truncated-completions', { ...HEALTHY, 'stop/length': (p) => 0.1 + 0.6 * p }],
  ['clip-share', { ...HEALTHY, 'policy/clip_fraction': 0.5 }],
  ['off-policy-ratio', { ...HEALTHY, 'policy/ratio_mean': (p) => 1 + 0.4 * p }],
  ['value-not-learning', { ...HEALTHY, 'value/explained_variance': -0.1 }],
  ['engine-mismatch', { ...HEALTHY, 'policy/logp_mismatch_mean': 0.05 }],
  ['loss-rising', { ...SUPERVISED, loss: (p) => 1 + 2 * p }],
  ['overfitting', { ...SUPERVISED, 'validation/loss': (p) => 1 + 3 * (p - 0.3) ** 2 }],
  ['unverifiable', { ...HEALTHY, 'verdict/unverifiable': 20 }],
  ['gradient-spikes', { ...HEALTHY, grad_norm: (_, step) => (step % 20 === 0 ? 50 : 1) }],
];

describe('diagnose', () => {
  test('every rule has a made run with its illness, and only known metrics are read', () => {
    expect(ILLNESSES.map(([rule]) => rule).sort()).toEqual([...DIAGNOSIS_RULES].sort());
    const names = ILLNESSES.flatMap(([, series]) => Object.keys(series));
    expect(names.filter((name) => !isMetricName(name))).toEqual([]);
  });

  test.each(ILLNESSES)('%s is found, and nothing else', (rule, series) => {
    const findings = diagnose([stage(series)]);
    expect(findings.map((finding) => finding.rule)).toEqual([rule]);
    const [{ stage: where, saw, advice }] = findings as [(typeof findings)[number]];
    expect(where).toBe('03-grpo');
    expect(saw).toMatch(/\d/);
    expect(saw + advice).not.toMatch(/NaN|undefined|\.$/);
  });

  test('a healthy stage, a short one and one without metrics have no finding', () => {
    expect(diagnose([stage(HEALTHY), stage(SUPERVISED)])).toEqual([]);
    expect(diagnose(ILLNESSES.map(([, series]) => stage(series, 2)))).toEqual([]);
    expect(diagnose([stage({})])).toEqual([]);
  });

  test('entropy that falls as demonstrations are learned is no collapse', () => {
    const learned = { ...SUPERVISED, 'policy/entropy': (p: number) => 1.2 * Math.exp(-6 * p) };
    expect(diagnose([stage(learned)])).toEqual([]);
  });

  test('what is too short to be judged is not called healthy', () => {
    const of = (steps: number, folder: string) => ({ ...stage({ loss: () => 1 }, steps), folder });
    expect(nothingFound([])).toBe('No stage has written metrics yet.');
    expect(nothingFound([of(100, '02-sft')])).toBe('No rule found anything wrong with the training.');
    expect(nothingFound([of(100, '02-sft'), of(9, '03-grpo')])).toMatch(/not judged: 03-grpo\.$/);
    expect(nothingFound([of(9, '03-grpo')])).toMatch(/^Nothing can be said yet: a rule needs 10 steps/);
  });

  test('completions that could not be judged are compared with those that were, not with tokens', () => {
    // Prompts of 200 tokens, learned from in two epochs: as tokens, eight times as many completions.
    const long: Series = { ...HEALTHY, 'batch/tokens': 2 * 64 * 265 };
    const rules = (series: Series) => diagnose([stage(series)]).map(({ rule }) => rule);
    expect(rules({ ...long, 'verdict/unverifiable': 5 })).toEqual(['unverifiable']);
    expect(rules({ ...long, 'verdict/unverifiable': 3 })).toEqual([]);
    const { 'rollouts/count': _, ...uncounted } = long;
    expect(rules({ ...uncounted, 'verdict/unverifiable': 40 })).toEqual(['unverifiable']);
  });

  test('values that are not finite are passed over', () => {
    const holes = Object.fromEntries(
      Object.entries(HEALTHY).map(([name, value]) => [
        name,
        (p: number, step: number) =>
          step % 7 === 0 ? Number.NaN : typeof value === 'number' ? value : value(p, step),
      ]),
    );
    expect(diagnose([stage(holes)])).toEqual([]);
  });

  test('longer completions that pay off are no explosion', () => {
    const thinking = { ...HEALTHY, 'completion/length_mean': (p: number) => 60 + 300 * p };
    expect(diagnose([stage(thinking)])).toEqual([]);
  });
});

describe('training facts', () => {
  test('by the published formulas, and by tokens', () => {
    const [supervised, reinforced] = trainingFacts([stage(SUPERVISED, 400), stage(HEALTHY, 400)]);
    expect(supervised).toMatchObject({ steps: 400, tokens: 2_000_000, learningEfficiency: null });
    // Losses fall along a line from 2 to 0.5: means of the first and last 100 of 400 steps.
    const early = 2 - 1.5 * (49.5 / 399);
    const recent = 0.5 + 1.5 * (49.5 / 399);
    expect(supervised!.convergenceRate).toBeCloseTo((early - recent) / early, 10);
    expect(supervised!.trainingStability).toBeGreaterThan(0.9);
    const gain = 0.5 * (1 - 9 / 399);
    expect(reinforced!.learningEfficiency).toBeCloseTo(gain / 399, 10);
    expect(reinforced!.rewardPerMillionTokens).toBeCloseTo(gain / 1.6, 10);
    expect(reinforced!.accuracyPerMillionTokens).toBeCloseTo(gain / 1.6, 10);
  });

  test('the stability of a checkpoint is of the steps before it', () => {
    const loss = (_: number, step: number): number => (step <= 60 ? step % 2 : 5);
    const stages = [stage({ loss }, 120)];
    const at = (step: string): number | null => stabilityOf(stages, `03-grpo/checkpoints/step-${step}`);
    expect(at('000060')).toBeCloseTo(1 / 1.5, 12);
    expect(at('000120')).toBe(1);
    expect([at('000040'), stabilityOf(stages, '02-sft/checkpoints/step-000060')]).toEqual([null, null]);
    expect(stabilityOf(stages, 'org/model')).toBeNull();
  });
});
