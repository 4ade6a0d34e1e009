/**
 * Every member of GRPO's family as its recipe has it, from rewards to the gradient: the same for any cut into micro-batches
 * and any padding.
 */

import { expect, it } from 'vitest';
import { grpoPresetNames } from '../../src/recipe/index.ts';
import type { ScoredGroup } from '../../src/rewards/index.ts';
import { grpoOptions } from '../../src/run/stages/grpo.ts';
import type { RunStageContext } from '../../src/run/stages.ts';
import { advantagesOfGroups } from '../../src/train/group-advantages.ts';
import { grpoMinibatch } from '../../src/train/grpo.ts';
import { cutMicroBatches } from '../../src/train/micro-batches.ts';
import { accumulatePolicyGradient, recordedLogps } from '../../src/train/policy-update.ts';
import type { Session } from '../../src/train/session.ts';
import { Rng } from '../../src/util/rng.ts';
import { mean, std } from '../../src/util/statistics.ts';
import { recipeWith } from './stage-harness.ts';
import { assertNoLeaks, largestDifference, takeGradients, tinyModel } from './tiny.ts';

assertNoLeaks();

const temperature = 0.9;
const rng = new Rng({ seed: 9, purpose: 'presets-test' });
const tokens = (count: number) => Array.from({ length: count }, () => 3 + rng.integer(20));

/** Four groups of three completions of uneven lengths; some were cut off, one reward is not known. */
const groups = Array.from({ length: 4 }, (_, g): ScoredGroup => {
  const promptIds = [1, ...tokens(3 + g)];
  const scored = Array.from({ length: 3 }, (_, i) => {
    const completionIds = tokens(2 + rng.integer(20));
    const logps = completionIds.map(() => -rng.uniform() * 3);
    const reward = g === 2 && i === 1 ? null : rng.integer(4) / 3;
    return {
      rollout: {
        problemId: `p${g}`,
        sampleIndex: i,
        promptIds,
        completionIds,
        logps,
        samplingLogps: logps.map((logp) => logp + 0.2 * rng.normal()),
        stopReason: i === 2 ? ('length' as const) : ('eos' as const),
        text: '',
        policyStep: 0,
      },
      reward,
      parts: { process: reward },
      judgement: { verdict: 'incorrect' as const, reason: '', extracted: '' },
      formatOk: true,
    };
  });
  return { problem: { id: `p${g}` } as ScoredGroup['problem'], scored };
});

function optionsOf(keys: string) {
  const line = `- { type: grpo, ${keys}, steps: 1, promptsPerStep: 4, groupSize: 3, rewards: [{ name: process, weight: 1 }] }`;
  const recipe = recipeWith(line);
  const compute = { device: 'cpu' };
  const context = {
    name: 'grpo',
    recipe,
    stage: recipe.stages.at(-1),
    compute,
    log: () => {},
    modelFolder: (name: string) => name,
  };
  return grpoOptions(context as unknown as RunStageContext<'grpo'>);
}

/** Loss, advantages and gradient of one update, off the policy that sampled, with micro-batches of so many tokens. */
function updated(keys: string, budget: number, replayed: boolean) {
  using policy = tinyModel();
  using other = tinyModel({}, 'f32', 2);
  using start = other.snapshot();
  const options = { ...optionsOf(keys), microBatchTokens: budget };
  const reference = options.reference === 'none' ? null : start;
  const session = { policy, extra: {} } as unknown as Session;
  const found = advantagesOfGroups(session, groups, { process: 1 }, reference, { ...options, temperature });
  const sequences = found.sequences.flat().map((one, i) => ({ ...one, replayed: replayed && i % 4 === 0 }));
  const minibatch = grpoMinibatch(policy, sequences, options);
  const old = recordedLogps(policy, minibatch.batches, temperature).map((values) =>
    values.map((value) => value + 0.1 * Math.sin(Math.round(value * 50))),
  );
  const { loss } = accumulatePolicyGradient({
    policy,
    reference,
    ...minibatch,
    oldLogps: old,
    temperature,
    truncated: false,
    loss: options.klPlace === 'loss' ? options : { ...options, kl: { ...options.kl, beta: 0 } },
  });
  const advantages = sequences.flatMap((one) => one.tokenAdvantages ?? [one.advantage]);
  return { loss, advantages, gradients: takeGradients(policy), count: minibatch.batches.length };
}

const others = [
  'kl: { beta: 0.1, place: tokens }, reference: start, advantages: { whiten: tokens }',
  'kl: { beta: 0.1, place: reward, estimator: k3 }, reference: start',
  'entropyCoefficient: 0.01, topEntropyShare: 0.4',
  'lossDenominator: constant, maskTruncated: true',
];

const rows: readonly (readonly [keys: string, replayed: boolean])[] = [
  ...grpoPresetNames.map((name) => [`preset: ${name}`, false] as const),
  ...others.map((keys) => [keys, false] as const),
  ...['grpo', 'gspo', 'gmpo', 'vespo'].map((name) => [`preset: ${name}`, true] as const),
];

it.each(rows)('%s, replayed rollouts among them: %s', (keys, replayed) => {
  const all = [60, 150, 100_000].map((budget) => updated(keys, budget, replayed));
  // Eight rows, and those beyond them.
  expect(all[2]!.count).toBeLessThanOrEqual(2);
  expect(all[0]!.count).toBeGreaterThan(all[1]!.count);
  const [first] = all;
  const size = Math.max(...[...first!.gradients.values()].map((one) => Math.max(...one.map(Math.abs))));
  expect(size).toBeGreaterThan(1e-5);
  for (const one of all) {
    expect(Math.abs(one.loss - first!.loss)).toBeLessThan(1e-5);
    expect(largestDifference(one.advantages, first!.advantages)).toBeLessThan(1e-5);
    for (const [name, gradient] of one.gradients)
      expect(largestDifference(gradient, first!.gradients.get(name)!), name).toBeLessThan(1e-5);
  }
});

it("REINFORCE++'s advantage of a token is what is still to come of score and KL penalties, whitened", () => {
  using policy = tinyModel();
  using other = tinyModel({}, 'f32', 2);
  using reference = other.snapshot();
  const options = { ...optionsOf('preset: reinforce-pp'), microBatchTokens: 60 };
  const session = { policy, extra: {} } as unknown as Session;
  const found = advantagesOfGroups(session, groups, { process: 1 }, reference, { ...options, temperature });
  const scored = groups.flatMap((group) => group.scored);
  const raw = scored.map(({ rollout, reward }) => {
    const batches = cutMicroBatches([rollout], 10_000, 0);
    const [ours, theirs] = [policy, reference].map((model) => recordedLogps(model, batches, temperature)[0]!);
    const rewards = [...ours!].map((logp, t) => -0.01 * (logp - theirs![t]!));
    rewards[rewards.length - 1]! += reward ?? 0;
    return rewards.map((_, t) => rewards.slice(t).reduce((sum, value) => sum + value, 0));
  });
  const known = raw.filter((_, i) => scored[i]!.reward !== null).flat();
  const [centre, spread] = [mean(known), std(known, 1)];
  found.sequences.flat().forEach((one, i) => {
    const wanted = raw[i]!.map((value) => (scored[i]!.reward === null ? 0 : (value - centre) / spread));
    expect(largestDifference(one.tokenAdvantages!, wanted)).toBeLessThan(1e-5);
  });
});

it('KL in the reward is that of the estimator, summed over the completion, for known rewards alone', () => {
  using policy = tinyModel();
  using other = tinyModel({}, 'f32', 2);
  using reference = other.snapshot();
  const keys =
    'kl: { beta: 0.3, place: reward, estimator: k3 }, reference: start, advantages: { scale: none }';
  const options = { ...optionsOf(keys), microBatchTokens: 60 };
  const session = { policy, extra: {} } as unknown as Session;
  const found = advantagesOfGroups(session, groups, { process: 1 }, reference, { ...options, temperature });
  groups.forEach(({ scored }, g) => {
    const totals = scored.map(({ rollout, reward }) => {
      const batches = cutMicroBatches([rollout], 10_000, 0);
      const [ours, theirs] = [policy, reference].map(
        (model) => recordedLogps(model, batches, temperature)[0]!,
      );
      const kl = [...ours!].reduce(
        (sum, logp, t) => sum + Math.exp(theirs![t]! - logp) - (theirs![t]! - logp) - 1,
        0,
      );
      return reward === null ? null : reward - 0.3 * kl;
    });
    const centre = mean(totals.filter((total) => total !== null));
    const wanted = totals.map((total) => (total === null ? 0 : total - centre));
    expect(
      largestDifference(
        found.sequences[g]!.map((one) => one.advantage),
        wanted,
      ),
    ).toBeLessThan(1e-4);
  });
});

it('a reward that is not known counts as its recipe says, also where each reward is normalised by itself', () => {
  using policy = tinyModel();
  const options = { ...optionsOf('advantages: { baseline: decoupled }'), microBatchTokens: 60 };
  const session = { policy, extra: {} } as unknown as Session;
  const rewards = [{ name: 'process', missing: 0 }];
  const stoodIn = groups.map(({ problem, scored }) => ({
    problem,
    scored: scored.map((one) => ({ ...one, parts: { process: one.parts['process'] ?? 0 } })),
  }));
  const found = [groups, stoodIn].map((some) => {
    const asked = { ...options, rewards, temperature };
    const { sequences } = advantagesOfGroups(session, some, { process: 1 }, null, asked);
    return sequences.flat().map((one) => one.advantage);
  });
  expect(found[0]).toEqual(found[1]);
});
