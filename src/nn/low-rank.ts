/**
 * Owns the low-rank update of one weight: LoRA (Hu et al. 2021) and, with a magnitude, DoRA (Liu et al. 2024), beside
 * the layer in training and merged into a copy of its weight for reading. Knows no adapter file and no model.
 */

import {
  addUpdateRows,
  dtypeCode,
  Generator,
  invoke,
  kernelsServe,
  type LowRankLayer,
  lowRankLinear,
  noGrad,
  Op,
  scope,
  type Tensor,
  zeros,
} from '../torch/index.ts';
import { hash32 } from '../util/rng.ts';
import { Module } from './module.ts';
import { TransposedCopy } from './packed-copy.ts';

const vectorNormOp = new Op('aten::linalg_vector_norm');
const bernoulliOp = new Op('aten::bernoulli_', 'float');

/** What a low-rank update is made of. `a` is [r, in] and `b` [out, r]; of an embedding [r, rows] and [width, r]. */
export interface LowRankParts {
  readonly a: Tensor;
  readonly b: Tensor;
  /** DoRA's lengths of the weight's rows, [out]; null for LoRA. */
  readonly magnitude: Tensor | null;
  /** The update is scale * b a. */
  readonly scale: number;
  /** Share of the update's inputs that are left out while a dropout seed is set. */
  readonly dropout: number;
}

/** A layer that a low-rank update stands beside. */
export interface Beside {
  readonly weight: Tensor;
  readonly bias: Tensor | null;
}

/** A low-rank update in its own dtype, f32 whatever the base has; it owns its tensors. */
export class LowRank extends Module {
  readonly scale: number;
  dropout: number;
  /** Set while dropout is on: the mask follows from it alone, so recomputing a layer drops the same inputs. */
  dropoutSeed: number | null = null;
  private readonly a: Tensor;
  private readonly b: Tensor;
  private readonly magnitude: Tensor | null;
  private readonly transposed: boolean;
  private readonly transposedB = new TransposedCopy();

  /** `embedding`: the weight is a table [rows, width], the transpose of what b a gives. */
  constructor(parts: LowRankParts, embedding = false) {
    super();
    this.scale = parts.scale;
    this.dropout = parts.dropout;
    this.transposed = embedding;
    const names = lowRankNames(embedding);
    this.a = this.parameter(names.a, parts.a);
    this.b = this.parameter(names.b, parts.b);
    this.magnitude = parts.magnitude && this.parameter(names.magnitude, parts.magnitude);
  }

  /** The inputs x in the update's own dtype: layers that read the same x share the copy. */
  widened(x: Tensor): Tensor {
    return x.to(this.a.dtype);
  }

  /** The layer's output `y`, with the update of the widened inputs: computed beside the base, cast to y's dtype once. */
  forward(wide: Tensor, y: Tensor, layer: Beside): Tensor {
    const input = this.dropped(wide);
    const update = input.linear(this.a).mul(this.scale).linear(this.b);
    if (!this.magnitude) return y.add(update).to(y.dtype);
    const ratio = this.magnitude.div(this.lengths(layer.weight));
    // Under dropout the base is scaled on the same inputs as the update.
    const base = input === wide ? withoutBias(y, layer.bias) : input.linear(layer.weight.to(wide.dtype));
    return y
      .add(base.mul(ratio.sub(1)))
      .add(update.mul(ratio))
      .to(y.dtype);
  }

  /** Whether `forwardWhole` serves for inputs like x: for LoRA in f32 where kernels compute, while no input is dropped. */
  isWhole(x: Tensor): boolean {
    const drops = this.dropoutSeed !== null && this.dropout > 0;
    return this.steps && !drops && this.a.dtype === 'f32' && kernelsServe(x);
  }

  /**
   * The whole layer's output of x, or of the gated SiLU of x, its weight frozen, by one kernel: nothing as wide as x or the
   * output is kept in f32.
   */
  forwardWhole(x: Tensor, base: Pick<LowRankLayer, 'weight' | 'scales' | 'bias'>, gated = false): Tensor {
    return lowRankLinear(x, { ...base, a: this.a, b: this.b, scale: this.scale }, gated);
  }

  /** Whether `step` serves: without magnitudes, whose ratios need the whole weight. */
  get steps(): boolean {
    return this.magnitude === null && !this.transposed;
  }

  /** `forward` for the rows [N, in] of a decoding step, whose outputs `y` it may overwrite; with its bits where `isWhole`. */
  step(x: Tensor, y: Tensor): Tensor {
    const { a, b, scale } = this;
    if (!kernelsServe(x) || a.dtype !== 'f32') {
      const hidden = x.to(a.dtype).linear(a).mul(scale);
      return y.add(hidden.linear(b)).to(y.dtype);
    }
    return addUpdateRows(x, a, this.transposedB.of(b, 'f32'), scale, y);
  }

  /** Frees the copy that decoding has made. */
  forgetPacked(): void {
    this.transposedB[Symbol.dispose]();
  }

  override [Symbol.dispose](): void {
    this.forgetPacked();
    super[Symbol.dispose]();
  }

  /** Rows `y` of an embedding for ids, with the update; as in the embedding, the row `padding` gets no gradient. */
  forwardRows(ids: Tensor, y: Tensor, padding = -1): Tensor {
    const update = this.a.transpose(0, 1).embedding(ids, padding).linear(this.b).mul(this.scale);
    return y.add(update).to(y.dtype);
  }

  /** The weight that gives the same outputs alone, in the weight's dtype; a function of a, b and magnitude. */
  effective(weight: Tensor): Tensor {
    const sum = weight.to(this.a.dtype).add(this.delta());
    const scaled = this.magnitude ? sum.mul(this.magnitude.div(this.lengths(weight)).unsqueeze(1)) : sum;
    return scaled.to(weight.dtype);
  }

  private delta(): Tensor {
    const product = this.b.matmul(this.a).mul(this.scale);
    return this.transposed ? product.transpose(0, 1) : product;
  }

  /** Lengths of the updated weight's rows, held constant in the gradient as the paper says (section 4.3). */
  private lengths(weight: Tensor): Tensor {
    return noGrad(() => scope(() => rowLengths(weight.to(this.a.dtype).add(this.delta()))));
  }

  private dropped(x: Tensor): Tensor {
    if (this.dropoutSeed === null || this.dropout === 0) return x;
    using generator = new Generator(this.dropoutSeed, x.device);
    const mask = zeros(x.shape, x.dtype, x.device);
    const kept = invoke(bernoulliOp, mask.handle, 1 - this.dropout, generator.id);
    return x.mul(kept.mul(1 / (1 - this.dropout)));
  }
}

/** The names of a low-rank update's parameters, as PEFT's files have them. */
export function lowRankNames(embedding: boolean): Record<'a' | 'b' | 'magnitude', string> {
  const magnitude = 'lora_magnitude_vector';
  return embedding
    ? { a: 'lora_embedding_A', b: 'lora_embedding_B', magnitude }
    : { a: 'lora_A.weight', b: 'lora_B.weight', magnitude };
}

/** The 2-norm of each row in f32: what DoRA's magnitudes start from. */
export function rowLengths(weight: Tensor): Tensor {
  return invoke(vectorNormOp, weight.handle, 2, [1], false, dtypeCode('f32'));
}

/** The seed of a layer's dropout masks from that of a whole pass. */
export function layerDropoutSeed(seed: number, path: string): number {
  return hash32(path, seed >>> 0);
}

function withoutBias(y: Tensor, bias: Tensor | null): Tensor {
  return bias ? y.sub(bias.to(y.dtype)) : y;
}
