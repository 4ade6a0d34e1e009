/** Owns what a batch's whole logits say of its labels, as the reference trainers count it: shifted, -100 left out. */

import { scope, type Tensor, tensor, where, zeros } from '../../src/torch/index.ts';

/** One number a label position, [B, T - 1] each; 0 where there is no label. */
export interface TokenStatistics {
  readonly logps: Tensor;
  readonly mask: Tensor;
  readonly entropies: Tensor;
  /** 1 where the most probable token is the label. */
  readonly hits: Tensor;
  /** Means of the logits over the vocabulary. */
  readonly logits: Tensor;
}

/** Reads logits [B, T, V] at the labels [B, T] of the next position; `logps` keeps its graph. */
export function tokenStatistics(logits_BTV: Tensor, labels_BT: Tensor): TokenStatistics {
  const last = labels_BT.size(1) - 1;
  const logits = logits_BTV.narrow(1, 0, last);
  const labels = labels_BT.narrow(1, 1, last);
  const known = labels.eq(tensor([-100], { dtype: 'i64' })).logicalNot();
  const mask = known.to(logits.dtype);
  const all = logits.logSoftmax(-1);
  const safe = where(known, labels, zeros(labels.shape, 'i64'));
  const detached = all.detach();
  return {
    logps: all.gather(-1, safe.unsqueeze(-1)).squeeze(-1).mul(mask),
    mask,
    entropies: detached.exp().mul(detached).sum(-1).neg().mul(mask),
    hits: detached.argmax(-1).eq(labels).to(logits.dtype).mul(mask),
    logits: logits.detach().mean(-1).mul(mask),
  };
}

/** The mean over the label positions of some rows. */
export function meanOver(
  statistics: TokenStatistics,
  name: 'entropies' | 'hits' | 'logits',
  rows?: Rows,
): number {
  return scope(() => {
    const [start, length] = rows ?? [0, statistics.mask.size(0)];
    const part = (values: Tensor) => values.narrow(0, start, length).sum().item();
    return part(statistics[name]) / Math.max(1, part(statistics.mask));
  });
}

export type Rows = readonly [start: number, length: number];

/** Ids where a mask is 1, -100 elsewhere. */
export function labelsOf(ids: Tensor, mask: Tensor): Tensor {
  return where(mask.gt(0), ids, tensor([-100], { dtype: 'i64' }));
}
