/**
 * Owns what one chunk of tokens after the other computes of a head's logits without a graph, in buffers that all of them
 * share: terms, and the gradient of the logits by hand. Knows nothing of the loss.
 */

import { like } from '../nn/index.ts';
import {
  invoke,
  kernelsServe,
  Op,
  productInto,
  type Tensor,
  type TokenTerms,
  tokenSlopes,
  tokenTerms,
  zeros,
} from '../torch/index.ts';

const logSoftmaxIntoOp = new Op('aten::log_softmax', 'int_out');
const expIntoOp = new Op('aten::exp', 'out');
const divInPlaceOp = new Op('aten::div_', 'Scalar');
const mulInPlaceOp = new Op('aten::mul_', 'Tensor');
const bmmOp = new Op('aten::bmm');
const scatterAddInPlaceOp = new Op('aten::scatter_add_');

/** Memory for the logits of a chunk, made once: blocks of this size that come and go would tear the heap to pieces. */
export interface HeadBuffers {
  /** Logits in the dtype of the hidden states. */
  readonly raw_NV: Tensor;
  /** Two f32 copies, the first of them the logits themselves where those are f32; null where the kernels need none. */
  readonly wide: { readonly first_NV: Tensor; readonly second_NV: Tensor } | null;
}

/** Buffers for chunks of up to `rows` hidden states, padding counted. */
export function headBuffers(rows: number, vocabulary: number, hidden_ND: Tensor): HeadBuffers {
  const make = (dtype: 'f32' | typeof hidden_ND.dtype) => zeros([rows, vocabulary], dtype, hidden_ND.device);
  const raw_NV = make(hidden_ND.dtype);
  if (kernelsServe(hidden_ND)) return { raw_NV, wide: null };
  return {
    raw_NV,
    wide: { first_NV: raw_NV.dtype === 'f32' ? raw_NV : make('f32'), second_NV: make('f32') },
  };
}

/** The gradients of each token's log-probability and entropy; null where nothing asks for one. */
export interface TermSlopes {
  readonly logps_N: Tensor | null;
  readonly entropies_N: Tensor | null;
}

/** The distributions of a chunk's tokens, which lie in the buffers until the next chunk comes. */
export interface HeadChunk {
  /** Log-probabilities of the targets and entropies, f32 [N]; unless they are `kept`, the distributions are lost. */
  terms(targets_N: Tensor, kept: boolean): Pick<TokenTerms, 'logps_N' | 'entropies_N'>;
  /**
   * Gradient [N, V] of the head's logits: (g_logp (onehot - p) - g_entropy p (log p + H)) / temperature. Overwrites the
   * distributions.
   */
  slopes(targets_N: Tensor, entropies_N: Tensor, slopes: TermSlopes): Tensor;
}

/** The chunk of the first `tokens` of the padded hidden states under the rows weight_VD. */
export function headChunk(
  padded_ND: Tensor,
  weight_VD: Tensor,
  tokens: number,
  temperature: number,
  { raw_NV, wide }: HeadBuffers,
): HeadChunk {
  const raw = raw_NV.narrow(0, 0, padded_ND.size(0));
  productInto(raw, padded_ND, like(weight_VD, padded_ND));
  const logits_NV = raw.narrow(0, 0, tokens);
  if (!wide) return new KernelChunk(logits_NV, temperature);
  const [first_NV, second_NV] = [wide.first_NV.narrow(0, 0, tokens), wide.second_NV.narrow(0, 0, tokens)];
  if (raw_NV !== wide.first_NV) first_NV.copy_(logits_NV);
  return new LibraryChunk(first_NV, second_NV, temperature);
}

/** Reads the logits as they are, once for each question. */
class KernelChunk implements HeadChunk {
  private readonly logits_NV: Tensor;
  private readonly temperature: number;
  private known: TokenTerms | null = null;

  constructor(logits_NV: Tensor, temperature: number) {
    this.logits_NV = logits_NV;
    this.temperature = temperature;
  }

  terms(targets_N: Tensor): TokenTerms {
    this.known = tokenTerms(this.logits_NV, targets_N, this.temperature);
    return this.known;
  }

  slopes(targets_N: Tensor, _entropies_N: Tensor, { logps_N, entropies_N }: TermSlopes): Tensor {
    const known = this.known ?? this.terms(targets_N);
    return tokenSlopes(this.logits_NV, targets_N, this.temperature, known, { logps_N, entropies_N });
  }
}

/** By libtorch's operators, with log-probabilities and probabilities in f32. */
class LibraryChunk implements HeadChunk {
  private readonly logps_NV: Tensor;
  private readonly p_NV: Tensor;
  private readonly temperature: number;

  /** Takes over both: logits, and room for as many numbers. */
  constructor(logits_NV: Tensor, room_NV: Tensor, temperature: number) {
    if (temperature !== 1) invoke(divInPlaceOp, logits_NV.handle, temperature);
    invoke(logSoftmaxIntoOp, logits_NV.handle, -1, null, room_NV.handle);
    invoke(expIntoOp, room_NV.handle, logits_NV.handle);
    this.logps_NV = room_NV;
    this.p_NV = logits_NV;
    this.temperature = temperature;
  }

  terms(targets_N: Tensor, kept: boolean): { logps_N: Tensor; entropies_N: Tensor } {
    const logps_N = this.logps_NV.gather(-1, targets_N.unsqueeze(-1)).squeeze(-1);
    return { logps_N, entropies_N: kept ? this.keptEntropies() : this.lastEntropies() };
  }

  private lastEntropies(): Tensor {
    return invoke(mulInPlaceOp, this.p_NV.handle, this.logps_NV.handle).sum(-1).neg();
  }

  /** As sums of products without a place for the products. */
  private keptEntropies(): Tensor {
    const sums = invoke(bmmOp, this.p_NV.unsqueeze(1).handle, this.logps_NV.unsqueeze(2).handle);
    return sums.view([this.p_NV.size(0)]).neg();
  }

  slopes(targets_N: Tensor, entropies_N: Tensor, slopes: TermSlopes): Tensor {
    const { logps_NV, p_NV, temperature } = this;
    const scaled = (slope: Tensor | null) => slope?.div(temperature).unsqueeze(-1);
    const [forLogps_N1, forEntropies_N1] = [scaled(slopes.logps_N), scaled(slopes.entropies_N)];
    if (forEntropies_N1) {
      logps_NV.add_(entropies_N.unsqueeze(-1));
      invoke(mulInPlaceOp, logps_NV.handle, forEntropies_N1.neg().handle);
      if (forLogps_N1) logps_NV.add_(forLogps_N1, -1);
      invoke(mulInPlaceOp, p_NV.handle, logps_NV.handle);
    } else if (forLogps_N1) {
      invoke(mulInPlaceOp, p_NV.handle, forLogps_N1.neg().handle);
    }
    if (forLogps_N1)
      invoke(scatterAddInPlaceOp, p_NV.handle, -1, targets_N.unsqueeze(-1).handle, forLogps_N1.handle);
    return p_NV;
  }
}
