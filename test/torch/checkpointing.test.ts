/** Gradient checkpointing as recipes reach it: the trainers' gradients are the same with and without it. */

import { describe, expect, it } from 'vitest';
import { adapterDefaults, createAdapter, type Decoder, ValueHead } from '../../src/models/index.ts';
import { trainableParameters, useAdapter } from '../../src/nn/index.ts';
import { full, noGrad, op, scope, type Tensor } from '../../src/torch/index.ts';
import { accumulateValueGradient } from '../../src/train/critic.ts';
import { accumulateCrossEntropy } from '../../src/train/cross-entropy.ts';
import { accumulateDistillation } from '../../src/train/distill.ts';
import { cutMicroBatches, type TrainingSequence } from '../../src/train/micro-batches.ts';
import { packMicroBatches } from '../../src/train/packed-batches.ts';
import { accumulatePolicyGradient, recordedLogps } from '../../src/train/policy-update.ts';
import { backwardThroughSequenceLogps } from '../../src/train/sequence-logps.ts';
import { assertNoLeaks, largestDifference, tinyModel } from './tiny.ts';

assertNoLeaks();

const sequences: TrainingSequence[] = [
  { promptIds: [1, 5, 9, 13], completionIds: [4, 7, 5, 2] },
  { promptIds: [1, 8], completionIds: [6, 6, 10, 11, 3, 2] },
  { promptIds: [1, 12, 12, 4, 9], completionIds: [5, 2] },
];

/** Towards a teacher of another shape. */
function distilled(model: Decoder, objective: 'divergence' | 'log-ratio'): void {
  using teacher = tinyModel({ layers: 2 }, 'f32', 9);
  accumulateDistillation(model, teacher, cutMicroBatches(sequences, 24, 0), {
    objective,
    beta: 0.5,
    softening: 1.3,
    sampling: { temperature: 0.9, topP: 1, maxCompletionTokens: 8 },
    vocabulary: model.config.vocabSize,
  });
}

/** An adapter whose update is not zero, in use. */
function adapted(model: Decoder): void {
  for (const value of model.stateDict().values()) value.requiresGrad_(false);
  createAdapter(model, 'policy', { ...adapterDefaults, rank: 4, dropout: 0.2, dora: true }, 3);
  useAdapter(model, 'policy');
  noGrad(() =>
    scope(() => {
      for (const value of trainableParameters(model).values())
        value.copy_((op('aten::randn')(value.shape) as Tensor).mul(0.2));
    }),
  );
  for (const value of trainableParameters(model).values()) value.requiresGrad_();
}

function gradientsOf(model: Decoder, learn: () => unknown): Map<string, Float32Array> {
  learn();
  return new Map(
    [...trainableParameters(model)].map(([name, value]) => {
      using gradient = value.grad!;
      const numbers = gradient.toFloat32();
      value.grad = null;
      return [name, numbers];
    }),
  );
}

const losses: Readonly<Record<string, (model: Decoder) => unknown>> = {
  'cross-entropy of padded rows': (model) => accumulateCrossEntropy(model, cutMicroBatches(sequences, 24, 0)),
  'cross-entropy of packed rows, with dropout': (model) =>
    accumulateCrossEntropy(model, packMicroBatches(sequences, 24, 0), { dropoutSeed: 7 }),
  'a policy gradient': (model) => {
    const batches = cutMicroBatches(sequences, 24, 0);
    const recorded = recordedLogps(model, batches, 0.9);
    return accumulatePolicyGradient({
      policy: model,
      reference: null,
      sequences: sequences.map((one, i) => ({
        ...one,
        advantage: 1 - i,
        logps: one.completionIds.map(() => -1),
        samplingLogps: one.completionIds.map(() => -1),
      })),
      batches,
      weights: [0.3, 0.3, 0.4],
      oldLogps: recorded.map((values) => values.map((value) => value - 0.05)),
      temperature: 0.9,
      truncated: false,
      loss: { clip: { low: 0.2, high: 0.3 }, kl: { beta: 0, estimator: 'k3' } },
    });
  },
  'a preference loss': (model) =>
    backwardThroughSequenceLogps(model, sequences, cutMicroBatches(sequences, 24, 0), (sums_S) =>
      sums_S.square().mean(),
    ),
  'a divergence from a teacher': (model) => distilled(model, 'divergence'),
  'imitation of a teacher, token by token': (model) => distilled(model, 'log-ratio'),
  'the value loss of a critic apart': (model) => {
    using head = new ValueHead(model.config.hiddenSize, model.device);
    for (const [, value] of head.namedParameters())
      noGrad(() =>
        scope(() => {
          value.copy_(full(value.shape, 0.1));
        }),
      );
    const valued = sequences.map((one) => ({
      ...one,
      values: one.completionIds.map(() => 0),
      returns: one.completionIds.map((_, t) => t - 1),
    }));
    accumulateValueGradient(model, head, cutMicroBatches(sequences, 24, 0), valued, null, true);
    for (const [, value] of head.namedParameters()) value.grad = null;
  },
};

describe.each(['all weights', 'an adapter'])('training %s', (what) => {
  it.each(Object.entries(losses))('by %s has the same gradients', (_name, learn) => {
    using model = tinyModel({ layers: 3 });
    if (what === 'an adapter') adapted(model);
    const plain = gradientsOf(model, () => learn(model));
    model.gradientCheckpointing = true;
    let twice = 0;
    const { forwardCheckpointed } = model;
    model.forwardCheckpointed = (...inputs) => {
      twice++;
      return forwardCheckpointed.apply(model, inputs);
    };
    const spared = gradientsOf(model, () => learn(model));
    expect(twice).toBeGreaterThan(0);
    expect(plain.size).toBe(trainableParameters(model).size);
    for (const [name, gradient] of plain) {
      const scale = Math.max(...gradient.map(Math.abs));
      expect(scale, name).toBeGreaterThan(0);
      expect(largestDifference(spared.get(name)!, gradient), name).toBeLessThan(1e-5 * Math.max(1, scale));
    }
  });
});
