/** Owns the tiny models and the leak check that torch tests share. */

import { afterEach, beforeEach, expect } from 'vitest';
import { Decoder, initialWeights, type ModelConfig, qwen2Traits } from '../../src/models/index.ts';
import { characterTokenizer, type Tokenizer } from '../../src/text/index.ts';
import { type DType, liveTensors, scope } from '../../src/torch/index.ts';

export const tokenizer: Tokenizer = characterTokenizer([...'0123456789+-*/()=# \n:x']);

export function tinyConfig(changes: Partial<ModelConfig> = {}): ModelConfig {
  return {
    ...qwen2Traits,
    vocabSize: tokenizer.size,
    hiddenSize: 32,
    layers: 2,
    heads: 4,
    keyValueHeads: 2,
    headDim: 8,
    intermediateSize: 48,
    tieEmbeddings: true,
    maxPositions: 640,
    ropeTheta: 10_000,
    rmsEps: 1e-6,
    initializerRange: 0.15,
    bosTokenId: 1,
    eosTokenIds: [2],
    padTokenId: 0,
    ...changes,
  };
}

/** A trainable tiny model with weights far enough from zero that its distributions are not flat. */
export function tinyModel(
  changes: Partial<ModelConfig> = {},
  computeDtype: DType = 'f32',
  seed = 1,
): Decoder {
  const config = tinyConfig(changes);
  const model = scope(() => new Decoder(config, initialWeights(config, seed), computeDtype));
  for (const [, parameter] of model.namedParameters()) parameter.requiresGrad_();
  return model;
}

/** The gradient of every parameter, flattened, by name; clears them. */
export function takeGradients(model: Pick<Decoder, 'namedParameters'>): Map<string, Float32Array> {
  const gradients = new Map<string, Float32Array>();
  for (const [name, parameter] of model.namedParameters()) {
    using gradient = parameter.grad;
    if (gradient) gradients.set(name, gradient.toFloat32());
    parameter.grad = null;
  }
  return gradients;
}

export function largestDifference(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let most = 0;
  for (let i = 0; i < a.length; i++) most = Math.max(most, Math.abs(a[i]! - b[i]!));
  return most;
}

/** Every test of the file must free what it makes. */
export function assertNoLeaks(): void {
  let before = 0;
  beforeEach(() => {
    before = liveTensors();
  });
  afterEach(() => {
    expect(liveTensors()).toBe(before);
  });
}
