/** Owns the making of a model that a recipe describes: with random weights, or read from a folder. */

import { Decoder, initialWeights, loadModel, type ModelConfig, qwen2Traits } from '../../models/index.ts';
import type { ModelInit, ModelRecipe } from '../../recipe/index.ts';
import type { Tokenizer } from '../../text/index.ts';
import { scope } from '../../torch/index.ts';

/** A model on the CPU in f32; random weights follow from the seed. */
export function initialModel({ path, init }: ModelRecipe, tokenizer: Tokenizer, seed: number): Decoder {
  if (path !== undefined) return loadModel(path, { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
  const config = configOf(init!, tokenizer);
  return scope(() => new Decoder(config, initialWeights(config, seed), 'f32'));
}

function configOf(init: ModelInit, tokenizer: Tokenizer): ModelConfig {
  return {
    ...init,
    ...qwen2Traits,
    vocabSize: tokenizer.size,
    headDim: init.hiddenSize / init.heads,
    bosTokenId: tokenizer.bosId,
    eosTokenIds: tokenizer.eosId === null ? [] : [tokenizer.eosId],
    padTokenId: tokenizer.padId,
  };
}
