/** Owns clipping of gradients by their global norm. */

import { noGrad, op, scope, stack, type Tensor } from '../torch/index.ts';

/**
 * Scales the gradients so that their joint norm, 2 by default, is at most `maxNorm`; returns the norm before, which may
 * be NaN.
 */
export function clipGradNorm(
  parameters: Iterable<Tensor>,
  maxNorm: number,
  order: 1 | 2 | typeof Number.POSITIVE_INFINITY = 2,
): number {
  return noGrad(() =>
    scope(() => {
      const gradients = [...parameters]
        .map((parameter) => parameter.grad)
        .filter((g): g is Tensor => g !== null);
      if (gradients.length === 0) return 0;
      const norms = stack(op('aten::_foreach_norm', 'Scalar')(gradients, order) as Tensor[]);
      const total = normOf(norms, order);
      // As upstream: the 1e-6 makes a clipped norm end just below the bound, and NaN reaches every gradient.
      const factor = maxNorm / (total + 1e-6);
      if (!(factor >= 1)) op('aten::_foreach_mul_', 'Scalar')(gradients, factor);
      return total;
    }),
  );
}

/** The norm of norms; that of 2 keeps to plain arithmetic, which is the fast and usual case. */
function normOf(norms: Tensor, order: number): number {
  if (order === 2) return norms.square().sum().sqrt().item();
  return (op('aten::linalg_vector_norm')(norms, order) as Tensor).item();
}
