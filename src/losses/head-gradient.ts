/** Owns the gradient of a head's weight as chunks of tokens add to it in place; knows nothing of the loss. */

import { backward, invoke, noGrad, Op, scope, type Tensor, zeros } from '../torch/index.ts';

const isLeafOp = new Op('aten::is_leaf');
const addmmInPlaceOp = new Op('aten::addmm_');
/** Rows of the vocabulary whose gradient in another dtype exists at once. */
const blockRows = 4096;

/** The gradient of a head while chunks are added to it. */
export interface HeadGradient {
  readonly total_VD: Tensor;
  /** Hands the total to what stands behind the weight, once the last chunk is in. */
  close(): void;
}

/** Begins the gradient of a weight, in its own memory where it is a leaf; null where it needs none. */
export function openHeadGradient(weight_VD: Tensor): HeadGradient | null {
  if (!weight_VD.requiresGrad) return null;
  const leaf = isLeafOp.raw(weight_VD.handle) === true;
  const before = leaf ? weight_VD.grad : null;
  const total_VD = before ?? zeros(weight_VD.shape, weight_VD.dtype, weight_VD.device);
  if (leaf && !before) weight_VD.grad = total_VD;
  return { total_VD, close: () => (leaf ? undefined : backward(weight_VD, total_VD)) };
}

/** Adds slopes_NV^T hidden_ND, computed in their dtype, to the first V rows. */
export function addHeadGradient({ total_VD }: HeadGradient, slopes_NV: Tensor, hidden_ND: Tensor): void {
  noGrad(() =>
    scope(() => {
      const vocabulary = slopes_NV.size(1);
      if (total_VD.dtype === slopes_NV.dtype) {
        const rows_VD = total_VD.narrow(0, 0, vocabulary);
        invoke(addmmInPlaceOp, rows_VD.handle, slopes_NV.transpose(0, 1).handle, hidden_ND.handle);
        return;
      }
      for (let start = 0; start < vocabulary; start += blockRows) {
        const rows = Math.min(blockRows, vocabulary - start);
        scope(() =>
          total_VD
            .narrow(0, start, rows)
            .add_(slopes_NV.narrow(1, start, rows).transpose(0, 1).matmul(hidden_ND)),
        );
      }
    }),
  );
}
