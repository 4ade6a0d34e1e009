/** PPO against slow twins: the joint loss by autograd on whole logits, any cut, bootstrapped values, frozen policy. */

import { describe, expect, it } from 'vitest';
import { ValueHead } from '../../src/models/index.ts';
import type { Rollout } from '../../src/rollouts/index.ts';
import { backward, ids, noGrad, scope, tensor } from '../../src/torch/index.ts';
import { accumulateValueGradient, explainedVariance } from '../../src/train/critic.ts';
import { type Experience, experienceOf, observe } from '../../src/train/experience.ts';
import { nextKlCoefficient } from '../../src/train/kl-controller.ts';
import { cutMicroBatches } from '../../src/train/micro-batches.ts';
import { accumulatePpo } from '../../src/train/ppo.ts';
import { Rng } from '../../src/util/rng.ts';
import { assertNoLeaks, largestDifference, takeGradients, tinyModel } from './tiny.ts';

assertNoLeaks();

const temperature = 0.9;
const rng = new Rng({ seed: 5, purpose: 'ppo-test' });
const tokens = (count: number) => Array.from({ length: count }, () => 3 + rng.integer(20));
const noise = (count: number, size: number) => Array.from({ length: count }, () => size * rng.normal());

/** Completions of uneven lengths; every third was cut off. */
const rollouts: readonly Rollout[] = [5, 17, 1, 9, 30, 2, 12].map((length, i) => ({
  problemId: `p${i}`,
  sampleIndex: 0,
  promptIds: tokens(3 + (i % 4)),
  completionIds: tokens(length),
  logps: noise(length, 1),
  samplingLogps: noise(length, 1),
  stopReason: i % 3 === 0 ? 'length' : 'eos',
  text: '',
  policyStep: 0,
}));

/** A step's experience as if the policy had moved since: old numbers are today's and some noise. */
const experience: readonly Experience[] = rollouts.map((rollout) => {
  const length = rollout.completionIds.length;
  return {
    ...rollout,
    advantage: 0,
    tokenAdvantages: noise(length, 1),
    oldLogps: noise(length, 0.3).map((value) => value - 3),
    values: noise(length, 0.5),
    returns: noise(length, 1),
    kl: null,
    lastValue: null,
  };
});

const options = {
  clip: { low: 0.2, high: 0.3 },
  entropyCoefficient: 0.05,
  valueClip: 0.2,
  valueCoefficient: 0.4,
  sampling: { temperature, topP: 1, maxCompletionTokens: 32 },
};

function filledHead(width: number): ValueHead {
  const head = new ValueHead(width, 'cpu');
  const fill = new Rng({ seed: 2, purpose: 'value-head' });
  noGrad(() =>
    scope(() => {
      for (const [, value] of head.namedParameters())
        value.copy_(tensor(Array.from({ length: value.numel }, () => fill.normal())).view(value.shape));
    }),
  );
  return head;
}

function gradientsOf(budget: number) {
  using policy = tinyModel();
  using head = filledHead(policy.config.hiddenSize);
  const batches = cutMicroBatches(experience, budget, 0);
  const { loss, value } = accumulatePpo({ policy, head, sequences: experience, batches, options });
  const gradients = new Map([...takeGradients(policy), ...takeGradients(head)]);
  return { loss, value, gradients, count: batches.length };
}

/** The same loss from the definition, a sequence at a time, with the whole graph. */
function twin() {
  using policy = tinyModel();
  using head = filledHead(policy.config.hiddenSize);
  const all = experience.reduce((sum, one) => sum + one.completionIds.length, 0);
  const loss = scope(() => {
    const terms = experience.map(({ promptIds, completionIds, ...one }) => {
      const input = [...promptIds, ...completionIds];
      const hidden = policy.forward(ids(Int32Array.from(input), [1, input.length]));
      const states = hidden.select(0, 0).narrow(0, promptIds.length - 1, completionIds.length);
      const log = states.linear(policy.headWeight).div(temperature).logSoftmax(-1);
      const logps = log.gather(-1, ids(Int32Array.from(completionIds)).unsqueeze(-1)).squeeze(-1);
      const floats = (values: readonly number[]) => tensor(values);
      const advantages = floats(one.tokenAdvantages);
      const ratio = logps.sub(floats(one.oldLogps)).exp();
      const bounded = ratio.clamp(0.8, 1.3);
      const policyTerm = ratio.mul(advantages).minimum(bounded.mul(advantages)).neg();
      const entropy = log.exp().mul(log).sum(-1).neg();
      const values = head.forward(states);
      const [old, returns] = [floats(one.values), floats(one.returns)];
      const near = old.add(values.sub(old).clamp(-0.2, 0.2));
      const squared = values.sub(returns).square().maximum(near.sub(returns).square());
      return policyTerm
        .sub(entropy.mul(0.05))
        .add(squared.mul(0.5 * 0.4))
        .sum();
    });
    const whole = terms.reduce((sum, term) => sum.add(term)).div(all);
    backward(whole);
    return whole.item();
  });
  return { loss, gradients: new Map([...takeGradients(policy), ...takeGradients(head)]) };
}

describe('the joint loss of policy and value head', () => {
  it.each([
    [1, 7],
    [64, 3],
    [200, 2],
    [10_000, 1],
  ])('equals its definition with micro-batches of %i tokens', (budget, count) => {
    const [found, wanted] = [gradientsOf(budget), twin()];
    expect(Math.abs(found.loss - wanted.loss)).toBeLessThan(1e-5);
    expect([...found.gradients.keys()]).toEqual([...wanted.gradients.keys()]);
    for (const [name, values] of wanted.gradients)
      expect(largestDifference(found.gradients.get(name)!, values), name).toBeLessThan(1e-5);
    expect(found.count).toBe(count);
    expect(found.value.clipped).toBeGreaterThan(0);
  });

  it('takes nothing from a completion without a score: neither values nor the entropy bonus', () => {
    using policy = tinyModel();
    using head = filledHead(policy.config.hiddenSize);
    const scored = experience.slice(0, 3);
    const unscored = experience.slice(3).map((one) => ({
      ...one,
      tokenAdvantages: one.completionIds.map(() => 0),
      unscored: true,
    }));
    const gradientsWith = (sequences: readonly Experience[]) => {
      const batches = cutMicroBatches(sequences, 64, 0);
      accumulatePpo({ policy, head, sequences, batches, options });
      return new Map([...takeGradients(policy), ...takeGradients(head)]);
    };
    const tokensOf = (sequences: readonly Experience[]) =>
      sequences.reduce((sum, { completionIds }) => sum + completionIds.length, 0);
    // Their tokens stay in the denominator, and nothing else of them.
    const share = tokensOf(scored) / tokensOf(experience);
    const [alone, together] = [gradientsWith(scored), gradientsWith([...scored, ...unscored])];
    for (const [name, values] of alone)
      expect(
        largestDifference(
          together.get(name)!,
          values.map((value) => share * value),
        ),
        name,
      ).toBeLessThan(1e-6);
  });

  it('leaves the policy alone while only values are learned', () => {
    using policy = tinyModel();
    using head = filledHead(policy.config.hiddenSize);
    accumulateValueGradient(policy, head, cutMicroBatches(experience, 64, 0), experience, 0.2);
    expect(takeGradients(policy).size).toBe(0);
    expect(takeGradients(head).size).toBe(2);
  });
});

describe('what is observed of completions', () => {
  it('has the value of the next state only where a completion was cut off', () => {
    using policy = tinyModel();
    using head = filledHead(policy.config.hiddenSize);
    const observers = { policy, head, reference: policy, temperature, microBatchTokens: 64 };
    const places = [...rollouts.keys()];
    const found = observe(observers, rollouts, [places.slice(0, 4), places.slice(4)], {
      klEstimator: 'k1',
      truncated: 'bootstrap',
    });
    found.forEach((one, i) => {
      const { promptIds, completionIds, stopReason } = rollouts[i]!;
      const input = [...promptIds, ...completionIds];
      const values = noGrad(() =>
        scope(() => {
          const hidden = policy.forward(ids(Int32Array.from(input), [1, input.length]));
          return head.forward(hidden.select(0, 0)).toFloat32();
        }),
      );
      const from = promptIds.length - 1;
      expect(largestDifference(one.values, values.subarray(from, from + completionIds.length))).toBeLessThan(
        1e-5,
      );
      if (stopReason === 'length') expect(one.lastValue).toBeCloseTo(values.at(-1)!, 5);
      else expect(one.lastValue).toBeNull();
      expect(one.kl!.every((value) => value === 0)).toBe(true);
    });
  });

  it('teaches nothing with a completion whose score is not known', () => {
    const observations = experience.map(({ oldLogps, values, kl, lastValue }) => ({
      oldLogps,
      values,
      kl,
      lastValue,
    }));
    const scores = experience.map((_, i) => (i === 1 ? null : i % 2));
    const shaping = {
      gamma: 1,
      lambda: 0.95,
      whitenAdvantages: true,
      truncated: 'ends',
      klEstimator: 'k1',
    } as const;
    const found = experienceOf(rollouts, observations, scores, null, 0, shaping);
    expect(found[1]!.tokenAdvantages.every((value) => value === 0)).toBe(true);
    // Nor its values, once those of now are others than those that it was sampled with.
    using policy = tinyModel();
    using head = filledHead(policy.config.hiddenSize);
    const unscored = [found[1]!];
    accumulateValueGradient(policy, head, cutMicroBatches(unscored, 64, 0), unscored, null);
    for (const gradient of takeGradients(head).values())
      expect(gradient.every((value) => value === 0)).toBe(true);
    expect(explainedVariance(found)).toBe(explainedVariance(found.filter((_, i) => i !== 1)));
    const others = found.filter((_, i) => i !== 1).flatMap((one) => one.tokenAdvantages);
    const mean = others.reduce((sum, value) => sum + value, 0) / others.length;
    const square = others.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (others.length - 1);
    expect(mean).toBeCloseTo(0, 9);
    expect(square).toBeCloseTo(1, 6);
  });
});

it('counts the score of a cut-off completion, or the value of what would follow, never both', () => {
  const observation = { oldLogps: [0, 0], values: [0.5, 0.25], kl: [0.1, 0.2] };
  const shaping = {
    gamma: 1,
    lambda: 1,
    whitenAdvantages: false,
    truncated: 'bootstrap',
    klEstimator: 'k1',
  } as const;
  const returnsWith = (lastValue: number | null) =>
    experienceOf(
      [{ ...rollouts[5]!, stopReason: 'length' }],
      [{ ...observation, lastValue }],
      [1],
      [[4, 3]],
      10,
      shaping,
    )[0]!;
  const ends = returnsWith(null);
  expect(ends.returns.map((x) => Number(x.toFixed(9)))).toEqual([4 - 1 + 3 - 2 + 1, 3 - 2 + 1]);
  expect(ends.tokenAdvantages.map((x) => Number(x.toFixed(9)))).toEqual([4.5, 1.75]);
  expect(returnsWith(7).returns.map((x) => Number(x.toFixed(9)))).toEqual([4 - 1 + 3 - 2 + 7, 3 - 2 + 7]);
});

it('explains the variance of returns', () => {
  const sequence = (values: number[], returns: number[]) => ({
    promptIds: [],
    completionIds: [],
    values,
    returns,
  });
  expect(explainedVariance([sequence([1, 2], [1, 2]), sequence([3], [3])])).toBe(1);
  expect(explainedVariance([sequence([0, 0], [1, 2]), sequence([0], [3])])).toBe(0);
  expect(explainedVariance([sequence([2, 1], [1, 2])])).toBe(-3);
  expect(explainedVariance([sequence([2, 1], [1, 1])])).toBeNull();
});

it('steers the KL coefficient by a fifth at most', () => {
  const control = { target: 6, horizon: 100 };
  expect(nextKlCoefficient(0.2, 6, 100, control)).toBe(0.2);
  expect(nextKlCoefficient(0.2, 60, 100, control)).toBeCloseTo(0.24, 12);
  expect(nextKlCoefficient(0.2, 0, 50, control)).toBeCloseTo(0.18, 12);
  expect(nextKlCoefficient(0.2, 6.6, 100, control)).toBeCloseTo(0.22, 12);
  expect(nextKlCoefficient(0.2, 60, 100, { target: null, horizon: 1 })).toBe(0.2);
});
