/** Owns how far two models' next-token distributions are apart, position by position. Knows no models. */

import { arange, noGrad, op, scope, type Tensor, where } from '../torch/index.ts';

/** One number a position, in nats where it is an information. */
export interface Divergences {
  readonly klPq: Float64Array;
  readonly klQp: Float64Array;
  /** Jensen-Shannon, at most ln 2. */
  readonly js: Float64Array;
  /** Of the raw logits. */
  readonly cosine: Float64Array;
  readonly entropyP: Float64Array;
  readonly entropyQ: Float64Array;
  /** 1 where both find the same token likeliest (the first of equals). */
  readonly top1Agree: Float64Array;
  /** Total variation, half the L1 distance. */
  readonly tv: Float64Array;
}

/**
 * Compares logits [N, V] at a temperature, in their own dtype. Vocabularies of different width (padded embeddings) are
 * cut to the common ids before the softmax.
 */
export function divergences(p_NV: Tensor, q_NV: Tensor, temperature = 1): Divergences {
  return noGrad(() =>
    scope(() => {
      const width = Math.min(p_NV.size(-1), q_NV.size(-1));
      const [a, b] = [p_NV.narrow(-1, 0, width), q_NV.narrow(-1, 0, width)];
      const [lp, lq] = [a, b].map((logits) => logits.div(temperature).logSoftmax(-1)) as [Tensor, Tensor];
      const [p, q] = [lp.exp(), lq.exp()];
      const middle = (op('aten::logaddexp')(lp, lq) as Tensor).sub(Math.LN2);
      const expected = (weight: Tensor, value: Tensor) => weight.mul(value).sum(-1);
      const half = expected(p, lp.sub(middle)).add(expected(q, lq.sub(middle)));
      const norm = (x: Tensor) => x.square().sum(-1).sqrt().clamp(1e-8);
      return {
        klPq: expected(p, lp.sub(lq)).toFloat64(),
        klQp: expected(q, lq.sub(lp)).toFloat64(),
        js: half.mul(0.5).toFloat64(),
        cosine: a
          .mul(b)
          .sum(-1)
          .div(norm(a).mul(norm(b)))
          .toFloat64(),
        entropyP: expected(p, lp).neg().toFloat64(),
        entropyQ: expected(q, lq).neg().toFloat64(),
        top1Agree: first(a).eq(first(b)).to('f64').toFloat64(),
        tv: (op('aten::abs')(p.sub(q)) as Tensor).sum(-1).mul(0.5).toFloat64(),
      };
    }),
  );
}

/** The smallest index of the largest value of each row. */
function first(logits_NV: Tensor): Tensor {
  const width = logits_NV.size(-1);
  const places = arange(0, width, 'i64', logits_NV.device).expand(logits_NV.shape);
  const beyond = arange(width, width + 1, 'i64', logits_NV.device).expand(logits_NV.shape);
  const hits = where(logits_NV.eq(logits_NV.amax(-1, true)), places, beyond);
  return op('aten::amin')(hits, [-1]) as Tensor;
}
