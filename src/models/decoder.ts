/**
 * Owns the Qwen2-architecture decoder: RMSNorm, rotary grouped-query attention, gated SiLU MLP, tied or untied
 * embeddings. Gives hidden states; what is done with logits is the business of losses and the engine.
 */

import { Embedding, Linear, like, Module, NormedProjection, normal, RMSNorm } from '../nn/index.ts';
import { type DType, full, scope, type Tensor, zeros } from '../torch/index.ts';
import { cachedAttention, causalAttention } from './attention.ts';
import type { ModelConfig } from './config.ts';
import type { KvCache } from './kv-cache.ts';
import { RopeTables, type Rotation, rotate } from './rope.ts';

/** Where a decoding step writes and reads: made once a step, used by every layer. */
export interface StepContext {
  readonly cache: KvCache;
  readonly rows: Tensor;
  readonly positions: Tensor;
  readonly rotation: Rotation;
  /** From `cacheMask`: 0 where a sequence has a token, -inf elsewhere. */
  readonly mask: Tensor;
  readonly length: number;
}

class Attention extends Module {
  readonly projection: NormedProjection;
  private readonly config: ModelConfig;
  private readonly o: Linear;

  constructor(state: ReadonlyMap<string, Tensor>, path: string, config: ModelConfig, norm: RMSNorm) {
    super();
    const { hiddenSize, heads, keyValueHeads, headDim } = config;
    const linear = (name: string, sizes: { in: number; out: number; bias: boolean }) =>
      this.child(name, new Linear(state, `${path}.${name}`, sizes));
    this.config = config;
    this.projection = new NormedProjection(norm, [
      linear('q_proj', { in: hiddenSize, out: heads * headDim, bias: true }),
      linear('k_proj', { in: hiddenSize, out: keyValueHeads * headDim, bias: true }),
      linear('v_proj', { in: hiddenSize, out: keyValueHeads * headDim, bias: true }),
    ]);
    this.o = linear('o_proj', { in: heads * headDim, out: hiddenSize, bias: false });
  }

  /** Rotated queries and keys, and values, of x [..., D]: each [..., its heads, headDim]. */
  private project(x: Tensor, rotation: Rotation): { q: Tensor; k: Tensor; v: Tensor } {
    const { heads, keyValueHeads, headDim } = this.config;
    const shape = [...x.shape.slice(0, -1), heads + 2 * keyValueHeads, headDim];
    const qkv = this.projection.forward(x).view(shape);
    const qk = rotate(qkv.narrow(-2, 0, heads + keyValueHeads), rotation);
    return {
      q: qk.narrow(-2, 0, heads),
      k: qk.narrow(-2, heads, keyValueHeads),
      v: qkv.narrow(-2, heads + keyValueHeads, keyValueHeads),
    };
  }

  /** Whole sequences x_BTD, causal; `captured` receives the keys and values [B, heads, T, dim] for a cache. */
  forward(x: Tensor, rotation: Rotation, captured?: (keys: Tensor, values: Tensor) => void): Tensor {
    const { q, k, v } = this.project(x, rotation);
    captured?.(k.transpose(1, 2), v.transpose(1, 2));
    return this.o.forward(causalAttention(q, k, v));
  }

  /** One token of each running sequence x_ND: appends to the cache and attends over it. */
  step(x: Tensor, layer: number, context: StepContext): Tensor {
    const { cache, rows, positions, rotation, mask, length } = context;
    const { q, k, v } = this.project(x, rotation);
    const read = (whole: Tensor) => whole.narrow(0, 0, x.size(0)).narrow(2, 0, length);
    cache.keys[layer]!.indexPut_([rows, null, positions], k);
    cache.values[layer]!.indexPut_([rows, null, positions], v);
    return this.o.forward(cachedAttention(q, read(cache.keys[layer]!), read(cache.values[layer]!), mask));
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.projection[Symbol.dispose]();
  }
}

class Mlp extends Module {
  readonly projection: NormedProjection;
  private readonly width: number;
  private readonly down: Linear;

  constructor(state: ReadonlyMap<string, Tensor>, path: string, config: ModelConfig, norm: RMSNorm) {
    super();
    const wide = { in: config.hiddenSize, out: config.intermediateSize, bias: false };
    const narrow = { in: config.intermediateSize, out: config.hiddenSize, bias: false };
    this.width = config.intermediateSize;
    this.projection = new NormedProjection(norm, [
      this.child('gate_proj', new Linear(state, `${path}.gate_proj`, wide)),
      this.child('up_proj', new Linear(state, `${path}.up_proj`, wide)),
    ]);
    this.down = this.child('down_proj', new Linear(state, `${path}.down_proj`, narrow));
  }

  forward(x: Tensor): Tensor {
    const both = this.projection.forward(x);
    return this.down.forward(
      both
        .narrow(-1, 0, this.width)
        .silu()
        .mul(both.narrow(-1, this.width, this.width)),
    );
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.projection[Symbol.dispose]();
  }
}

class Layer extends Module {
  readonly attention: Attention;
  private readonly mlp: Mlp;

  constructor(state: ReadonlyMap<string, Tensor>, path: string, config: ModelConfig) {
    super();
    const norm = (name: string) =>
      this.child(name, new RMSNorm(state, `${path}.${name}`, config.hiddenSize, config.rmsEps));
    const inputNorm = norm('input_layernorm');
    const postNorm = norm('post_attention_layernorm');
    this.attention = this.child('self_attn', new Attention(state, `${path}.self_attn`, config, inputNorm));
    this.mlp = this.child('mlp', new Mlp(state, `${path}.mlp`, config, postNorm));
  }

  forward(x: Tensor, attend: (x: Tensor) => Tensor): Tensor {
    const middle = x.add(attend(x));
    return middle.add(this.mlp.forward(middle));
  }

  freezeFrom(source: Layer, dtype: DType): void {
    this.attention.projection.freezeFrom(source.attention.projection, dtype);
    this.mlp.projection.freezeFrom(source.mlp.projection, dtype);
  }
}

/** Keys and values of one layer as `prefill` made them. */
export type Captured = (layer: number, keys: Tensor, values: Tensor) => void;

/** The decoder. `computeDtype` is that of activations; weights may be f32 masters beside it. */
export class Decoder extends Module {
  readonly config: ModelConfig;
  readonly computeDtype: DType;
  readonly rope: RopeTables;
  private readonly embedding: Embedding;
  private readonly blocks: readonly Layer[];
  private readonly norm: RMSNorm;
  private readonly head: Embedding;

  /** Takes over the tensors of a Hugging Face state dict; names and shapes must be the config's. */
  constructor(config: ModelConfig, state: ReadonlyMap<string, Tensor>, computeDtype: DType) {
    super();
    const { vocabSize: rows, hiddenSize: width } = config;
    this.config = config;
    this.computeDtype = computeDtype;
    this.embedding = this.child(
      'model.embed_tokens',
      new Embedding(state, 'model.embed_tokens', { rows, width }),
    );
    this.blocks = Array.from({ length: config.layers }, (_, i) =>
      this.child(`model.layers.${i}`, new Layer(state, `model.layers.${i}`, config)),
    );
    this.norm = this.child('model.norm', new RMSNorm(state, 'model.norm', width, config.rmsEps));
    this.head = config.tieEmbeddings
      ? this.embedding
      : this.child('lm_head', new Embedding(state, 'lm_head', { rows, width }));
    this.rope = new RopeTables(config.headDim, config.ropeTheta, config.maxPositions, this.device);
  }

  get device(): string {
    return this.embedding.weight.device;
  }

  /** The rows [V, D] that hidden states are multiplied with to give logits. */
  get headWeight(): Tensor {
    return this.head.weight;
  }

  /** Hidden states [B, T, D] after the last norm of whole sequences; right padding needs no mask. */
  forward(ids_BT: Tensor, captured?: Captured): Tensor {
    let x = this.embed(ids_BT);
    const rotation = this.rope.upTo(ids_BT.size(1), x);
    this.blocks.forEach((block, i) => {
      const capture = captured && ((keys: Tensor, values: Tensor) => captured(i, keys, values));
      x = block.forward(x, (input) => block.attention.forward(input, rotation, capture));
    });
    return this.norm.forward(x);
  }

  /** Hidden states [N, D] of the next token of each running sequence; appends to the cache. */
  step(ids_N: Tensor, context: StepContext): Tensor {
    let x = this.embed(ids_N);
    this.blocks.forEach((block, i) => {
      x = block.forward(x, (input) => block.attention.step(input, i, context));
    });
    return this.norm.forward(x);
  }

  /** Logits [..., V] in f32 of hidden states [..., D], over the first `vocabulary` rows. */
  logits(hidden: Tensor, vocabulary: number = this.config.vocabSize): Tensor {
    const weight = this.headWeight.narrow(0, 0, vocabulary);
    return hidden.linear(like(weight, hidden)).to('f32');
  }

  /**
   * A copy for reading only, with weights in the compute dtype and fused products. It shares nothing: make it anew
   * after every update of the policy, and dispose it.
   */
  snapshot(): Decoder {
    const copy = scope(() => {
      const state = new Map<string, Tensor>();
      for (const [name, value] of this.namedParameters()) state.set(name, copyAs(value, this.computeDtype));
      return new Decoder(this.config, state, this.computeDtype);
    });
    copy.blocks.forEach((block, i) => {
      block.freezeFrom(this.blocks[i]!, this.computeDtype);
    });
    return copy;
  }

  private embed(ids: Tensor): Tensor {
    return this.embedding.weight.embedding(ids).to(this.computeDtype);
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.rope[Symbol.dispose]();
  }
}

function copyAs(value: Tensor, dtype: DType): Tensor {
  const detached = value.detach();
  return detached.dtype === dtype ? detached.clone() : detached.to(dtype);
}

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
      state.set(`${path}.self_attn.${name}_proj.bias`, zeros([count * headDim]));
    }
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
