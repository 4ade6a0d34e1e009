/** Owns the weights that a model begins with where nothing was learned. Knows only names and shapes. */

import { normal } from '../nn/index.ts';
import { full, type Tensor, zeros } from '../torch/index.ts';
import type { ModelConfig } from './config.ts';

/**
 * Random f32 weights of a config's shape by Hugging Face names: matrices normal with 1 / sqrt(inputs), those that write
 * to the residual stream divided by sqrt(2 layers) more (Radford et al. 2019), embeddings normal with
 * `initializerRange`, norms 1, biases 0.
 */
export function initialWeights(config: ModelConfig, seed: number): Map<string, Tensor> {
  const { hiddenSize, heads, keyValueHeads, headDim, intermediateSize, vocabSize, layers } = config;
  const state = new Map<string, Tensor>();
  const random = (name: string, shape: readonly number[], std: number) =>
    state.set(name, normal(shape, std, seed, name));
  const inner = 1 / Math.sqrt(hiddenSize);
  const residual = (inputs: number) => 1 / Math.sqrt(inputs * 2 * layers);
  random('model.embed_tokens.weight', [vocabSize, hiddenSize], config.initializerRange);
  for (let i = 0; i < layers; i++) {
    const path = `model.layers.${i}`;
    for (const [name, count] of [
      ['q', heads],
      ['k', keyValueHeads],
      ['v', keyValueHeads],
    ] as const) {
      random(`${path}.self_attn.${name}_proj.weight`, [count * headDim, hiddenSize], inner);
      if (config.projectionBias) state.set(`${path}.self_attn.${name}_proj.bias`, zeros([count * headDim]));
      if (config.headNorms && name !== 'v')
        state.set(`${path}.self_attn.${name}_norm.weight`, full([headDim], 1));
    }
    if (config.outputBias) state.set(`${path}.self_attn.o_proj.bias`, zeros([hiddenSize]));
    random(`${path}.self_attn.o_proj.weight`, [hiddenSize, heads * headDim], residual(heads * headDim));
    random(`${path}.mlp.gate_proj.weight`, [intermediateSize, hiddenSize], inner);
    random(`${path}.mlp.up_proj.weight`, [intermediateSize, hiddenSize], inner);
    random(`${path}.mlp.down_proj.weight`, [hiddenSize, intermediateSize], residual(intermediateSize));
    state.set(`${path}.input_layernorm.weight`, full([hiddenSize], 1));
    state.set(`${path}.post_attention_layernorm.weight`, full([hiddenSize], 1));
  }
  state.set('model.norm.weight', full([hiddenSize], 1));
  if (!config.tieEmbeddings) random('lm_head.weight', [vocabSize, hiddenSize], config.initializerRange);
  return state;
}
