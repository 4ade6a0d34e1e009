/**
 * Owns the decoder of Qwen2, Qwen3 and Llama 3: RMSNorm, rotary grouped-query attention, gated SiLU MLP, tied or untied
 * embeddings; what tells them apart is in the config. Gives hidden states; what is done with logits is the business of
 * losses and the engine.
 */

import { Embedding, Head, Linear, layersOf, like, Module, NormedProjection, RMSNorm } from '../nn/index.ts';
import {
  arange,
  cat,
  type DType,
  decodeLayerKernel,
  dtypeBytes,
  type LayerProducts,
  product,
  type Rotation,
  rotatedHeads,
  scope,
  swigluRows,
  type Tensor,
} from '../torch/index.ts';
import type { AdapterConfig } from './adapter-config.ts';
import { attendHeads, attendPast, pastMask, type Sight, sightOf } from './attention.ts';
import { type Checkpointed, checkpointed } from './checkpointing.ts';
import type { ModelConfig } from './config.ts';
import { copiedState, type WeightFormat } from './copied-state.ts';
import { decodeAttention, type HeadNorms, pastOf, type StepContext } from './decode-attention.ts';
import type { PastKeys } from './kv-cache.ts';
import { RopeTables } from './rope.ts';

/** Which tokens of padded or packed rows belong together, and where they stand. */
export interface RowLayout {
  /** [B, T], from 0 in every segment. */
  readonly positions_BT: Tensor;
  /** [B, T]: tokens attend within their own segment, which is a run of tokens; padding is a segment of its own. */
  readonly segments_BT: Tensor;
}

/**
 * From so many rows on a layer of a decoding step is one kernel, where its matrices have so many bytes at most: each thread
 * reads all of them, so they must lie in its cache. Measured, see docs/performance.md.
 */
const wholeLayerRows = 8;
const wholeLayerBytes = 2 * 2 ** 20;

/** Adds keys and values [1, heads, T, dim] to those of the tokens before, and gives all. */
type Append = (keys: Tensor, values: Tensor) => PastKeys;

/** Some tokens' states [N, D] of those of all [B, T, D]; or all, as they are. */
type Picked = (states: Tensor) => Tensor;

class Attention extends Module {
  readonly projection: NormedProjection;
  readonly o: Linear;
  readonly headNorms: HeadNorms | null;
  private readonly config: ModelConfig;

  constructor(state: ReadonlyMap<string, Tensor>, path: string, config: ModelConfig, norm: RMSNorm) {
    super();
    const { hiddenSize, heads, keyValueHeads, headDim, projectionBias: bias } = config;
    const linear = (name: string, sizes: { in: number; out: number; bias: boolean }) =>
      this.child(name, new Linear(state, `${path}.${name}`, sizes));
    this.config = config;
    this.projection = new NormedProjection(norm, [
      linear('q_proj', { in: hiddenSize, out: heads * headDim, bias }),
      linear('k_proj', { in: hiddenSize, out: keyValueHeads * headDim, bias }),
      linear('v_proj', { in: hiddenSize, out: keyValueHeads * headDim, bias }),
    ]);
    this.o = linear('o_proj', { in: heads * headDim, out: hiddenSize, bias: config.outputBias });
    const headNorm = (name: string) =>
      this.child(name, new RMSNorm(state, `${path}.${name}`, headDim, config.rmsEps));
    this.headNorms = config.headNorms ? { q: headNorm('q_norm'), k: headNorm('k_norm') } : null;
  }

  /** Rotated queries and keys, and values, of x [..., D]: [..., heads + 2 keyValueHeads, headDim]. */
  private project(x: Tensor, rotation: Rotation): Tensor {
    const { heads, keyValueHeads, headDim } = this.config;
    const shape = [...x.shape.slice(0, -1), heads + 2 * keyValueHeads, headDim];
    const qkv = this.normed(this.projection.forward(x).view(shape));
    return rotatedHeads(qkv, rotation, heads + keyValueHeads);
  }

  /** Heads as they are rotated: of some architectures queries and keys have a norm. */
  private normed(qkv: Tensor): Tensor {
    if (!this.headNorms) return qkv;
    const { heads, keyValueHeads } = this.config;
    const q = this.headNorms.q.forward(qkv.narrow(-2, 0, heads));
    const k = this.headNorms.k.forward(qkv.narrow(-2, heads, keyValueHeads));
    return cat([q, k, qkv.narrow(-2, heads + keyValueHeads, keyValueHeads)], -2);
  }

  /** Keys and values [..., heads, T, dim] of projected heads. */
  private keysAndValues(qkv: Tensor): [keys: Tensor, values: Tensor] {
    const { heads, keyValueHeads } = this.config;
    const part = (first: number) => qkv.narrow(-2, first, keyValueHeads).transpose(1, 2);
    return [part(heads), part(heads + keyValueHeads)];
  }

  /** Whole sequences x_BTD. */
  forward(x: Tensor, rotation: Rotation, sight: Sight): Tensor {
    return this.o.forward(attendHeads(this.project(x, rotation), this.config.keyValueHeads, sight));
  }

  /** `forward` of the tokens that `asked` picks; `captured` receives the keys and values [B, heads, T, dim] of all. */
  prefill(
    x: Tensor,
    rotation: Rotation,
    captured: (keys: Tensor, values: Tensor) => void,
    asked: Picked,
  ): Tensor {
    const qkv = this.project(x, rotation);
    captured(...this.keysAndValues(qkv));
    return this.o.forward(asked(attendHeads(qkv, this.config.keyValueHeads)));
  }

  /** The next tokens x_1TD of one sequence: `append` adds their keys and values to those before and gives all. */
  extend(x: Tensor, rotation: Rotation, mask: Tensor, append: Append): Tensor {
    const qkv = this.project(x, rotation);
    const { keys, values } = append(...this.keysAndValues(qkv));
    return this.o.forward(attendPast(qkv.narrow(-2, 0, this.config.heads), keys, values, mask));
  }

  /** One token of each running sequence x_ND: appends to the cache, attends over it, and adds x. */
  step(x: Tensor, layer: number, context: StepContext): Tensor {
    const qkv = this.projection.step(x);
    return this.o.step(decodeAttention(qkv, layer, context, this.headNorms), x);
  }

  keepPacked(dtype: DType): void {
    this.projection.keepPacked(dtype);
    this.o.keepPacked(dtype);
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.projection[Symbol.dispose]();
  }
}

class Mlp extends Module {
  readonly projection: NormedProjection;
  readonly down: Linear;

  constructor(state: ReadonlyMap<string, Tensor>, path: string, config: ModelConfig, norm: RMSNorm) {
    super();
    const wide = { in: config.hiddenSize, out: config.intermediateSize, bias: false };
    const narrow = { in: config.intermediateSize, out: config.hiddenSize, bias: false };
    this.projection = new NormedProjection(norm, [
      this.child('gate_proj', new Linear(state, `${path}.gate_proj`, wide)),
      this.child('up_proj', new Linear(state, `${path}.up_proj`, wide)),
    ]);
    this.down = this.child('down_proj', new Linear(state, `${path}.down_proj`, narrow));
  }

  forward(x: Tensor): Tensor {
    return this.down.forwardGated(this.projection.forward(x));
  }

  /** `forward` for the rows x_ND of a decoding step, with x added. */
  step(x: Tensor): Tensor {
    return this.down.step(swigluRows(this.projection.step(x)), x);
  }

  keepPacked(dtype: DType): void {
    this.projection.keepPacked(dtype);
    this.down.keepPacked(dtype);
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.projection[Symbol.dispose]();
  }
}

class Layer extends Module {
  readonly attention: Attention;
  private readonly mlp: Mlp;
  private readonly config: ModelConfig;

  constructor(state: ReadonlyMap<string, Tensor>, path: string, config: ModelConfig) {
    super();
    this.config = config;
    const norm = (name: string) =>
      this.child(name, new RMSNorm(state, `${path}.${name}`, config.hiddenSize, config.rmsEps));
    const inputNorm = norm('input_layernorm');
    const postNorm = norm('post_attention_layernorm');
    this.attention = this.child('self_attn', new Attention(state, `${path}.self_attn`, config, inputNorm));
    this.mlp = this.child('mlp', new Mlp(state, `${path}.mlp`, config, postNorm));
  }

  /** `attend` gives attention's output for the tokens of x that `asked` picks, all unless it is there. */
  forward(x: Tensor, attend: (x: Tensor) => Tensor, asked: Picked = (states) => states): Tensor {
    const attended = attend(x);
    const middle = asked(x).add(attended);
    return middle.add(this.mlp.forward(middle));
  }

  step(x: Tensor, layer: number, context: StepContext): Tensor {
    const whole = this.wholeFor(x);
    if (whole) return decodeLayerKernel(x, whole, pastOf(layer, context, this.attention.headNorms));
    return this.mlp.step(this.attention.step(x, layer, context));
  }

  /** What the kernel of a whole layer computes of rows like x; null where products apart are faster, or are not all there is. */
  private wholeFor(x: Tensor): LayerProducts | null {
    if (x.size(0) < wholeLayerRows || this.matrixBytes(x.dtype) > wholeLayerBytes) return null;
    const { attention, mlp } = this;
    const [qkv, gateUp] = [attention.projection.packedFor(x), mlp.projection.packedFor(x)];
    const [out, down] = [attention.o.packedFor(x), mlp.down.packedFor(x)];
    if (!qkv?.folded || !gateUp?.folded || !out || !down) return null;
    return { qkv, out, gateUp, down, heads: this.config.heads, epsilon: this.config.rmsEps };
  }

  private matrixBytes(dtype: DType): number {
    const { hiddenSize, heads, keyValueHeads, headDim, intermediateSize } = this.config;
    const width = 2 * (heads + keyValueHeads) * headDim + 3 * intermediateSize;
    return hiddenSize * width * dtypeBytes(dtype);
  }

  /** Takes the joined products of a layer of the same shape, in another dtype, for a model that is only read. */
  freezeFrom(source: Layer, dtype: DType): void {
    for (const [own, other] of [
      [this.attention.projection, source.attention.projection],
      [this.mlp.projection, source.mlp.projection],
    ] as const) {
      if (!own.joinInt8(dtype)) own.freezeFrom(other, dtype);
    }
  }

  /** Keeps matrices packed for the steps of decoding, and in no other form where the kernels serve. */
  keepPacked(dtype: DType): void {
    this.attention.keepPacked(dtype);
    this.mlp.keepPacked(dtype);
  }

  forgetPacked(): void {
    this.attention.projection.forgetPacked();
    this.mlp.projection.forgetPacked();
  }
}

/** Keys and values of one layer as `prefill` made them. */
export type Captured = (layer: number, keys: Tensor, values: Tensor) => void;

/** The decoder. `computeDtype` is that of activations; weights may be f32 masters beside it. */
export class Decoder extends Module {
  readonly config: ModelConfig;
  readonly computeDtype: DType;
  readonly rope: RopeTables;
  /** Training computes every block twice and keeps the memory of one; set by whoever trains it. */
  gradientCheckpointing = false;
  /** What the adapters that it was given say of themselves, by name. */
  readonly adapterConfigs: Map<string, AdapterConfig> = new Map();
  private readonly embedding: Embedding;
  private readonly blocks: readonly Layer[];
  private readonly norm: RMSNorm;
  private readonly head: Head;

  /** Takes over the tensors of a Hugging Face state dict; names and shapes must be the config's. */
  constructor(config: ModelConfig, state: ReadonlyMap<string, Tensor>, computeDtype: DType) {
    super();
    const { vocabSize: rows, hiddenSize: width } = config;
    this.config = config;
    this.computeDtype = computeDtype;
    this.embedding = this.child(
      'model.embed_tokens',
      new Embedding(state, 'model.embed_tokens', { rows, width, pad: config.padTokenId }),
    );
    this.blocks = Array.from({ length: config.layers }, (_, i) =>
      this.child(`model.layers.${i}`, new Layer(state, `model.layers.${i}`, config)),
    );
    this.norm = this.child('model.norm', new RMSNorm(state, 'model.norm', width, config.rmsEps));
    const tied = config.tieEmbeddings ? this.embedding : null;
    this.head = this.child('lm_head', new Head(state, 'lm_head', { rows, width }, tied));
    this.rope = new RopeTables(config, this.device);
  }

  get device(): string {
    return this.embedding.weight.device;
  }

  /** The rows [V, D] that hidden states are multiplied with to give logits. */
  get headWeight(): Tensor {
    return this.head.weight;
  }

  /**
   * Hidden states [B, T, D] after the last norm of whole sequences. Causal; right padding needs no layout, left padding
   * and packed rows do. `watched` is given the embeddings and what each block but the last leaves.
   */
  forward(ids_BT: Tensor, layout?: RowLayout, watched?: (states: Tensor) => void): Tensor {
    let x = this.embed(ids_BT);
    const length = ids_BT.size(1);
    this.rope.reserve(length);
    const rotation = layout ? this.rope.at(layout.positions_BT, x) : this.rope.upTo(length, x);
    const sight = sightOf(layout?.segments_BT ?? null, x, this.config.headDim);
    for (const block of this.blocks) {
      watched?.(x);
      const attend = (states: Tensor) => block.attention.forward(states, rotation, sight);
      x = through((input) => block.forward(input, attend), x, watched !== undefined);
    }
    return this.norm.forward(x);
  }

  /**
   * Hidden states [N, D] after the last norm of the tokens `asked_N` among the B * T of `ids_BT`; `captured` receives the keys
   * and values of all, and the last block computes nothing else of those that are not asked for. Causal, as `forward`.
   */
  prefill(ids_BT: Tensor, asked_N: Tensor, captured: Captured): Tensor {
    let x = this.embed(ids_BT);
    const length = ids_BT.size(1);
    this.rope.reserve(length);
    const rotation = this.rope.upTo(length, x);
    const ends: Picked = (states) => states.reshape([-1, states.size(-1)]).indexSelect(0, asked_N);
    this.blocks.forEach((block, i) => {
      const asked: Picked = i + 1 < this.blocks.length ? (states) => states : ends;
      const capture = (keys: Tensor, values: Tensor) => captured(i, keys, values);
      const attend = (states: Tensor) => block.attention.prefill(states, rotation, capture, asked);
      x = through((input) => block.forward(input, attend, asked), x);
    });
    return this.norm.forward(x);
  }

  /**
   * As `forward`, at the memory of one block's graph: `output` is what the last block leaves, before the last norm;
   * give it to `normed`, and call `close` after the loss's backward.
   */
  forwardCheckpointed(ids_BT: Tensor, layout?: RowLayout): Checkpointed {
    const x = this.embed(ids_BT);
    const length = ids_BT.size(1);
    this.rope.reserve(length);
    const rotation = layout ? this.rope.at(layout.positions_BT, x) : this.rope.upTo(length, x);
    const sight = sightOf(layout?.segments_BT ?? null, x, this.config.headDim);
    const blocks = this.blocks.map(
      (block) => (input: Tensor) =>
        block.forward(input, (states) => block.attention.forward(states, rotation, sight)),
    );
    return checkpointed(x, blocks);
  }

  /** Hidden states after the last norm, of what the last block left. */
  normed(x: Tensor): Tensor {
    return this.norm.forward(x);
  }

  /**
   * Hidden states [1, T, D] of the tokens of one sequence that come after its first `start`; `append` adds their keys and
   * values of a layer to those before and gives all.
   */
  extend(
    ids_1T: Tensor,
    start: number,
    append: (layer: number, keys: Tensor, values: Tensor) => PastKeys,
  ): Tensor {
    let x = this.embed(ids_1T);
    const length = ids_1T.size(1);
    this.rope.reserve(start + length);
    const rotation = this.rope.at(arange(start, start + length, 'i64', this.device).unsqueeze(0), x);
    const mask = pastMask(start, length, x);
    this.blocks.forEach((block, i) => {
      const attend = (states: Tensor) =>
        block.attention.extend(states, rotation, mask, (keys, values) => append(i, keys, values));
      x = through((input) => block.forward(input, attend), x);
    });
    return this.norm.forward(x);
  }

  /** Hidden states [N, D] of the next token of each running sequence; appends to the cache. */
  step(ids_N: Tensor, context: StepContext): Tensor {
    let x = this.embed(ids_N);
    this.blocks.forEach((block, i) => {
      x = through((input) => block.step(input, i, context), x);
    });
    return this.norm.step(x);
  }

  /** Logits [N, V] of the rows [N, D] of a decoding step, in the compute dtype, over the first `vocabulary` rows. */
  stepLogits(hidden: Tensor, vocabulary: number = this.config.vocabSize): Tensor {
    return this.head.step(hidden, vocabulary);
  }

  /** Logits [..., V] in f32 of hidden states [..., D], over the first `vocabulary` rows. */
  logits(hidden: Tensor, vocabulary: number = this.config.vocabSize): Tensor {
    const weight = this.headWeight.narrow(0, 0, vocabulary);
    return product(hidden, like(weight, hidden)).to('f32');
  }

  /**
   * A copy for reading only, with weights in the compute dtype or the blocks' matrices in 8 bit, the adapter in use
   * merged, and fused products. It shares nothing that training changes: make it anew after every update of the policy,
   * and dispose it. One for `decoding` keeps its matrices packed for that alone, where the kernels serve: it takes less
   * memory and cannot be saved.
   */
  snapshot(weights: WeightFormat = 'full', purpose: 'any' | 'decoding' = 'any'): Decoder {
    const copy = scope(() => {
      const state = copiedState(this, this.computeDtype, () => weights === 'int8');
      const tieEmbeddings = !state.has('lm_head.weight');
      return new Decoder({ ...this.config, tieEmbeddings }, state, this.computeDtype);
    });
    copy.blocks.forEach((block, i) => {
      block.freezeFrom(this.blocks[i]!, this.computeDtype);
      if (purpose === 'decoding') block.keepPacked(this.computeDtype);
    });
    return copy;
  }

  /** Whether matrices are there packed and in no other form. */
  get isOnlyPacked(): boolean {
    return [...layersOf(this)].some(([, layer]) => layer instanceof Linear && layer.isOnlyPacked);
  }

  /** Frees what decoding has packed beside weights that are there in another form too. */
  forgetPacked(): void {
    for (const [, layer] of layersOf(this))
      if (layer instanceof Linear || layer instanceof Head) layer.forgetPacked();
    for (const block of this.blocks) block.forgetPacked();
  }

  /**
   * Makes the fused products of `snapshot` in place, for a model that is only read. `weightsOf` gives a layer's weights by
   * the beginning of their names, in the dtype to fold in; they are freed before the next layer's are asked for. For
   * `purpose` see `snapshot`.
   */
  freeze(
    weightsOf: (prefix: string) => ReadonlyMap<string, Tensor>,
    purpose: 'any' | 'decoding' = 'any',
  ): void {
    this.blocks.forEach((block, i) => {
      const path = `model.layers.${i}`;
      using source = new Layer(weightsOf(`${path}.`), path, this.config);
      block.freezeFrom(source, this.computeDtype);
      if (purpose === 'decoding') block.keepPacked(this.computeDtype);
    });
  }

  private embed(ids: Tensor): Tensor {
    return this.embedding.forward(ids).to(this.computeDtype);
  }

  override [Symbol.dispose](): void {
    super[Symbol.dispose]();
    this.rope[Symbol.dispose]();
  }
}

/**
 * What a block makes of x. What it made on the way is freed, and x too unless somebody holds it: without a gradient a pass
 * takes the memory of one block, and with one that of what the gradient needs.
 */
function through(block: (x: Tensor) => Tensor, x: Tensor, isHeld = false): Tensor {
  const y = scope(() => block(x));
  if (!isHeld) x.dispose();
  return y;
}
