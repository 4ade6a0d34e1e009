import { describe, expect, it } from 'vitest';
import {
  backwardThroughLogps,
  backwardThroughTokenLosses,
  gammaWeights,
  highEntropyMask,
  type KlEstimator,
  klPerToken,
  type LossDenominator,
  lossWeights,
  policyGradientLoss,
} from '../../src/losses/index.ts';
import { backward, ids, op, scope, type Tensor, tensor } from '../../src/torch/index.ts';
import { cutMicroBatches, predictingStates } from '../../src/train/micro-batches.ts';
import {
  accumulatePolicyGradient,
  type PolicySequence,
  type PolicyUpdateOptions,
  recordedLogps,
} from '../../src/train/policy-update.ts';
import { Rng } from '../../src/util/rng.ts';
import { assertNoLeaks, largestDifference, takeGradients, tinyModel } from './tiny.ts';

assertNoLeaks();

const randn = op('aten::randn') as (shape: number[]) => Tensor;

describe('log-probabilities in chunks', () => {
  it.each([
    [1, undefined],
    [0.7, undefined],
    [1, 30],
  ])(
    'at temperature %f and vocabulary %s: loss and gradients as from the full logits',
    (temperature, vocabulary) => {
      scope(() => {
        const n = 700;
        const hidden = randn([n, 16]).requiresGrad_();
        const weight = randn([40, 16]).requiresGrad_();
        const targets = ids(Array.from({ length: n }, (_, i) => (i * 7) % 30));
        const coefficients = randn([n]);
        const loss = (logps: Tensor, entropies: Tensor) =>
          logps.mul(coefficients).sum().add(entropies.square().sum());
        const gradients = () => {
          const both = [hidden.grad!.toFloat32(), weight.grad!.toFloat32()];
          hidden.grad = null;
          weight.grad = null;
          return both;
        };

        const logits = hidden.linear(weight.narrow(0, 0, vocabulary ?? 40)).div(temperature);
        const all = logits.logSoftmax(-1);
        const plain = loss(
          all.gather(-1, targets.unsqueeze(-1)).squeeze(-1),
          all.exp().mul(all).sum(-1).neg(),
        );
        backward(plain);
        const expected = gradients();

        for (const chunkTokens of [n, 256, 33, 1]) {
          if (chunkTokens === 1 && temperature !== 1) continue;
          const options = { temperature, chunkTokens, ...(vocabulary === undefined ? {} : { vocabulary }) };
          const value = backwardThroughLogps(
            hidden.mul(1),
            weight,
            targets,
            options,
            ({ logps_N, entropies_N }) => loss(logps_N, entropies_N),
          );
          expect(value.item()).toBeCloseTo(plain.item(), 1);
          const isExpected = () =>
            gradients().forEach((gradient, i) => {
              expect(largestDifference(gradient, expected[i]!)).toBeLessThan(
                2e-3 * Math.max(...expected[i]!.map(Math.abs)) * 0.1,
              );
            });
          isExpected();

          const total = backwardThroughTokenLosses(
            hidden.mul(1),
            weight,
            targets,
            options,
            ({ logps_N, entropies_N }, [start, length]) =>
              logps_N
                .mul(coefficients.narrow(0, start, length))
                .sum()
                .add(entropies_N.square().sum()),
          );
          expect(total).toBeCloseTo(plain.item(), 1);
          isExpected();
        }
      });
    },
  );
});

describe('policyGradientLoss', () => {
  const rng = new Rng({ seed: 3, purpose: 'test' });
  const draw = (n: number, scale: number) => Array.from({ length: n }, () => rng.normal() * scale);

  it.each(['k1', 'k2', 'k3'] as const)('equals its formula token by token, with %s', (estimator) => {
    scope(() => {
      const n = 200;
      const logps = draw(n, 0.5);
      const old = draw(n, 0.5);
      const reference = draw(n, 0.5);
      const advantages = draw(n, 1);
      const weights = draw(n, 1).map(Math.abs);
      const [low, high, beta] = [0.2, 0.28, 0.3];
      const leaf = tensor(logps).requiresGrad_();
      const { loss, sums } = policyGradientLoss(
        {
          logps_N: leaf,
          oldLogps_N: tensor(old),
          referenceLogps_N: tensor(reference),
          advantages_N: tensor(advantages),
          weights_N: tensor(weights),
        },
        { clip: { low, high }, kl: { beta, estimator } },
      );
      backward(loss);
      let expected = 0;
      let clipped = 0;
      let ratios = 0;
      const gradient: number[] = [];
      for (let t = 0; t < n; t++) {
        const ratio = Math.exp(logps[t]! - old[t]!);
        const bounded = Math.min(Math.max(ratio, 1 - low), 1 + high);
        const difference = logps[t]! - reference[t]!;
        const kl = { k1: difference, k2: difference ** 2 / 2, k3: Math.exp(-difference) + difference - 1 }[
          estimator
        ];
        const slope = { k1: 1, k2: difference, k3: 1 - Math.exp(-difference) }[estimator];
        const active = bounded * advantages[t]! < ratio * advantages[t]!;
        expected += weights[t]! * (-Math.min(ratio * advantages[t]!, bounded * advantages[t]!) + beta * kl);
        gradient.push(weights[t]! * ((active ? 0 : -ratio * advantages[t]!) + beta * slope));
        clipped += active ? 1 : 0;
        ratios += ratio;
      }
      expect(loss.item()).toBeCloseTo(expected, 3);
      expect(largestDifference(leaf.grad!.toFloat32(), gradient)).toBeLessThan(1e-5);
      expect(sums.clipped.item()).toBe(clipped);
      expect(sums.ratio.item()).toBeCloseTo(ratios, 3);
    });
  });

  it('names its denominators', () => {
    expect(lossWeights([2, 6], 'tokens', 10)).toEqual([1 / 8, 1 / 8]);
    expect(lossWeights([2, 6], 'sequences', 10)).toEqual([1 / 4, 1 / 12]);
    expect(lossWeights([2, 6], 'constant', 10)).toEqual([1 / 20, 1 / 20]);
    expect(lossWeights([0], 'tokens', 10)).toEqual([1]);
  });

  it('keeps as many uncertain tokens as torch does where the quantile falls on a value', () => {
    // (1 - 0.7) x 20 is 6.000000000000001 in doubles: the seventh value of 21 must still count.
    const entropies = Array.from({ length: 21 }, (_, i) => 0.1 + 0.037 * i);
    expect([...highEntropyMask(entropies, 0.7)]).toEqual(entropies.map((_, i) => Number(i >= 6)));
    expect(highEntropyMask([], 0.5)).toHaveLength(0);
  });

  it.each(['token', 'sequence'] as const)('counts importance weights once, by %s', (level) => {
    const [logps, old, advantage, weight] = [[-1, -2, -0.5], [-1.2, -1.7, -0.6], 0.8, 0.7];
    const phi = { positive: { k: 2, lambda: 3 }, negative: { k: 3, lambda: 2 } };
    scope(() => {
      const lossOf = (objective: { name: 'clip' } | ({ name: 'vespo' } & typeof phi)) =>
        policyGradientLoss(
          {
            logps_N: tensor(logps),
            oldLogps_N: tensor(old),
            referenceLogps_N: null,
            advantages_N: tensor([advantage, advantage, advantage]),
            weights_N: tensor([1, 1, 1]),
            rows: { rows_N: ids([0, 0, 0]), count: 1 },
            importance: { weights_N: tensor([weight, weight, weight]), level },
          },
          { objective, clip: { low: 9, high: 9 }, kl: { beta: 0, estimator: 'k1' } },
        ).loss.item();
      const ratios = logps.map((logp, t) => logp - old[t]!);
      const clipped = ratios.reduce((sum, ratio) => sum - Math.exp(ratio) * advantage * weight, 0);
      expect(lossOf({ name: 'clip' })).toBeCloseTo(clipped, 5);
      // A sequence's weight is there once, the tokens' weights multiply.
      const log =
        ratios.reduce((sum, ratio) => sum + ratio, 0) + Math.log(weight) * (level === 'token' ? 3 : 1);
      const gamma = Math.exp(3 + 2 * log - 3 * Math.exp(log));
      const vespo = logps.reduce((sum, logp) => sum - gamma * advantage * logp, 0);
      expect(lossOf({ name: 'vespo', ...phi })).toBeCloseTo(vespo, 5);
    });
  });
});

describe('the weight of VESPO', () => {
  it('is bounded where its decay is 0', () => {
    scope(() => {
      const free = { k: 6, lambda: 0 };
      const [weight] = gammaWeights(
        {
          logps_N: tensor([0]),
          oldLogps_N: tensor([-40]),
          referenceLogps_N: null,
          advantages_N: tensor([1]),
          weights_N: tensor([1]),
          rows: { rows_N: ids([0]), count: 1 },
        },
        { name: 'vespo', positive: free, negative: free },
      ).toFloat64();
      expect(weight).toBe(0);
    });
  });
});

describe('KL estimators', () => {
  it('have the exact KL as expectation (k1, k3), and k2 close to it for near policies', () => {
    scope(() => {
      const p = randn([1, 6]).logSoftmax(-1);
      const q = p.add(randn([1, 6]).mul(0.05)).logSoftmax(-1);
      const exact = p.exp().mul(p.sub(q)).sum().item();
      const expectation = (estimator: KlEstimator) =>
        p
          .exp()
          .mul(klPerToken(p, q, estimator))
          .sum()
          .item();
      expect(expectation('k1')).toBeCloseTo(exact, 6);
      expect(expectation('k3')).toBeCloseTo(exact, 6);
      expect(Math.abs(expectation('k2') - exact)).toBeLessThan(0.2 * exact);
    });
  });
});

describe('gradients of KL estimators on-policy, on a vocabulary of six', () => {
  /** Over all tokens, weighted by the policy that samples them and holds still. */
  function expectedGradient(estimator: KlEstimator, corrected: boolean): Float32Array {
    return scope(() => {
      const logits = tensor([0.3, -1, 0.5, 0.1, -0.2, 0.9]).requiresGrad_();
      const logp = logits.logSoftmax(-1);
      const reference = tensor([0.1, 0.4, -0.6, 0.2, 0.3, -0.5]).logSoftmax(-1);
      const ratio = corrected ? logp.sub(logp.detach()).exp() : null;
      const estimate = klPerToken(logp, reference, estimator);
      backward(
        logp
          .detach()
          .exp()
          .mul(ratio ? estimate.mul(ratio) : estimate)
          .sum(),
      );
      return logits.grad!.toFloat32();
    });
  }

  function exactGradient(): Float32Array {
    return scope(() => {
      const logits = tensor([0.3, -1, 0.5, 0.1, -0.2, 0.9]).requiresGrad_();
      const logp = logits.logSoftmax(-1);
      const reference = tensor([0.1, 0.4, -0.6, 0.2, 0.3, -0.5]).logSoftmax(-1);
      backward(logp.exp().mul(logp.sub(reference)).sum());
      return logits.grad!.toFloat32();
    });
  }

  it.each([
    ['k2', false],
    ['k3+', false],
    ['k1', true],
    ['k3', true],
  ] as const)('%s (corrected: %s) has the gradient of the KL', (estimator, corrected) => {
    expect(largestDifference(expectedGradient(estimator, corrected), exactGradient())).toBeLessThan(1e-6);
  });

  it.each(['k1', 'k3'] as const)('plain %s has not', (estimator) => {
    expect(largestDifference(expectedGradient(estimator, false), exactGradient())).toBeGreaterThan(0.01);
  });
});

function rollouts(count: number): PolicySequence[] {
  const rng = new Rng({ seed: 9, purpose: 'test' });
  return Array.from({ length: count }, () => {
    const completionIds = Array.from({ length: 2 + rng.integer(20) }, () => 3 + rng.integer(20));
    const logps = completionIds.map(() => -rng.uniform() * 3);
    return {
      promptIds: [1, ...Array.from({ length: 3 + rng.integer(4) }, () => 3 + rng.integer(20))],
      completionIds,
      advantage: rng.normal(),
      logps,
      samplingLogps: logps,
    };
  });
}

describe('one optimizer batch', () => {
  const sequences = rollouts(13);

  it.each(['tokens', 'sequences', 'constant'] as const)(
    'gives the same loss and gradient for every cut into micro-batches (%s)',
    (denominator: LossDenominator) => {
      using policy = tinyModel();
      using other = tinyModel({}, 'f32', 2);
      using reference = other.snapshot();
      const weights = lossWeights(
        sequences.map((s) => s.completionIds.length),
        denominator,
        32,
      );
      const results = [1, 60, 150, 100_000].map((budget) => {
        const sums = accumulatePolicyGradient({
          policy,
          reference,
          sequences,
          batches: cutMicroBatches(sequences, budget, 0),
          weights,
          oldLogps: null,
          temperature: 0.9,
          truncated: false,
          loss: { clip: { low: 0.2, high: 0.2 }, kl: { beta: 0.1, estimator: 'k3' } },
        });
        return { sums, gradients: takeGradients(policy) };
      });
      const [first] = results;
      expect(first!.gradients.size).toBe(policy.stateDict().size);
      for (const { sums, gradients } of results) {
        expect(sums.loss).toBeCloseTo(first!.sums.loss, 5);
        expect(sums.kl).toBeCloseTo(first!.sums.kl!, 3);
        expect(sums.targets).toBe(first!.sums.targets);
        for (const [name, gradient] of gradients) {
          expect(largestDifference(gradient, first!.gradients.get(name)!), name).toBeLessThan(1e-5);
        }
      }
    },
  );

  const plain: PolicyUpdateOptions = {
    clip: { low: 0.2, high: 0.2 },
    kl: { beta: 0, estimator: 'k3' },
  };
  const variants: [string, Partial<PolicyUpdateOptions>, boolean?][] = [
    ['gspo', { ratioLevel: 'sequence', clip: { low: 3e-4, high: 4e-4 } }],
    ['gspo-token', { ratioLevel: 'sequence-token', clip: { low: 0.1, high: 0.1 } }],
    ['rloo', { ratioLevel: 'sequence-product', clip: { low: 0.2, high: 0.2 } }],
    ['cispo', { objective: { name: 'cispo' }, clip: { low: 0.2, high: 1.2 } }],
    ['sapo', { objective: { name: 'sapo', positive: 1, negative: 1.05 } }],
    ['vespo', { objective: { name: 'vespo', positive: { k: 2, lambda: 3 }, negative: { k: 3, lambda: 2 } } }],
    ['gmpo', { objective: { name: 'gmpo' }, clip: { low: 0.4, high: 0.4 } }],
    ['reinforce', { objective: { name: 'reinforce' } }],
    ['two-sided and dual clip', { clip: { low: 0.2, high: 0.2, cap: 1.5, dual: 3 } }],
    ['corrected KL', { kl: { beta: 0.1, estimator: 'k3', corrected: true } }],
    ['KL with the gradient of k2', { kl: { beta: 0.1, estimator: 'k3+' } }],
    ['entropy bonus', { entropyCoefficient: 0.1 }],
    ['entropy bonus and top entropies', { entropyCoefficient: 0.1, topEntropyShare: 0.3 }],
    ['off-policy mask', { offPolicyThreshold: 0.01 }],
    ['importance of tokens', { importance: { level: 'token', beyond: 'mask', max: 1.5, min: 0.5 } }, true],
    ['importance of sequences', { importance: { level: 'sequence', beyond: 'truncate', max: 2 } }, true],
  ];

  it.each(variants)('%s: the same loss and gradient for every cut', (...variant) => {
    const [, special, truncated = false] = variant as (typeof variants)[number];
    const loss = { ...plain, ...special };
    using policy = tinyModel();
    using other = tinyModel({}, 'f32', 2);
    using reference = other.snapshot();
    const old = (budget: number) =>
      recordedLogps(policy, cutMicroBatches(sequences, budget, 0), 0.9).map((values) =>
        values.map((value) => value + 0.1 * Math.sin(Math.round(value * 50))),
      );
    const results = [1, 60, 100_000].map((budget) => {
      const sums = accumulatePolicyGradient({
        policy,
        reference: loss.kl.beta > 0 ? reference : null,
        sequences,
        batches: cutMicroBatches(sequences, budget, 0),
        weights: lossWeights(
          sequences.map((s) => s.completionIds.length),
          'sequences',
          32,
        ),
        oldLogps: truncated ? null : old(budget),
        temperature: 0.9,
        truncated,
        loss,
      });
      return { sums, gradients: takeGradients(policy) };
    });
    const [first] = results;
    const size = Math.max(...[...first!.gradients.values()].map((g) => Math.max(...g.map(Math.abs))));
    expect(size).toBeGreaterThan(1e-4);
    for (const { sums, gradients } of results) {
      expect(sums.loss).toBeCloseTo(first!.sums.loss, 5);
      for (const [name, gradient] of gradients)
        expect(largestDifference(gradient, first!.gradients.get(name)!), name).toBeLessThan(1e-5);
    }
  });

  it('cross-entropy: the same loss and gradient for every cut', () => {
    using policy = tinyModel();
    const targets = sequences.reduce((sum, s) => sum + s.completionIds.length, 0);
    const results = [1, 90, 100_000].map((budget) => {
      const loss = cutMicroBatches(sequences, budget, 0)
        .map((batch) =>
          scope(() => {
            const { hidden_ND, targets_N } = predictingStates(policy, batch);
            return backwardThroughLogps(
              hidden_ND,
              policy.headWeight,
              targets_N,
              { temperature: 1 },
              ({ logps_N }) => logps_N.sum().mul(-1 / targets),
            ).item();
          }),
        )
        .reduce((a, b) => a + b, 0);
      return { loss, gradients: takeGradients(policy) };
    });
    for (const { loss, gradients } of results) {
      expect(loss).toBeCloseTo(results[0]!.loss, 5);
      for (const [name, gradient] of gradients) {
        expect(largestDifference(gradient, results[0]!.gradients.get(name)!), name).toBeLessThan(1e-5);
      }
    }
  });

  it.each(['f32', 'bf16'] as const)(
    'on-policy: ratio exactly 1, KL to the same weights exactly 0 (%s)',
    (dtype) => {
      using policy = tinyModel({}, dtype);
      using reference = policy.snapshot();
      const batches = cutMicroBatches(sequences, 150, 0);
      const weights = lossWeights(
        sequences.map((s) => s.completionIds.length),
        'tokens',
        32,
      );
      const recorded = recordedLogps(policy, batches, 1);
      for (const oldLogps of [null, recorded]) {
        const sums = accumulatePolicyGradient({
          policy,
          reference,
          sequences,
          batches,
          weights,
          oldLogps,
          temperature: 1,
          truncated: false,
          loss: { clip: { low: 0.2, high: 0.2 }, kl: { beta: 0.1, estimator: 'k3' } },
        });
        expect(sums.ratio).toBe(sums.targets);
        expect(sums.kl).toBe(0);
        expect(sums.clipped).toBe(0);
        takeGradients(policy);
      }
    },
  );

  it('truncated sampling multiplies each token by min(old / sampling, 2)', () => {
    using policy = tinyModel();
    const [one] = sequences;
    const batches = cutMicroBatches([one!], 1000, 0);
    const old = recordedLogps(policy, batches, 1)[0]!;
    const run = (truncated: boolean, shift: number) => {
      const samplingLogps = [...old].map((logp) => logp - shift);
      accumulatePolicyGradient({
        policy,
        reference: null,
        sequences: [{ ...one!, samplingLogps }],
        batches,
        weights: [1],
        oldLogps: null,
        temperature: 1,
        truncated,
        loss: { clip: { low: 0.2, high: 0.2 }, kl: { beta: 0, estimator: 'k3' } },
      });
      return takeGradients(policy).get('model.norm.weight')!;
    };
    const plain = run(false, 0);
    const scaled = (factor: number) => plain.map((value) => value * factor);
    expect(largestDifference(run(true, Math.log(0.5)), scaled(0.5))).toBeLessThan(1e-5);
    expect(largestDifference(run(true, Math.log(5)), scaled(2))).toBeLessThan(1e-5);
  });
});
