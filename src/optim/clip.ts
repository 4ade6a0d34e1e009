/** Owns clipping of gradients by their global norm. */

import { noGrad, op, scope, stack, type Tensor } from '../torch/index.ts';

/** Scales the gradients so that their joint 2-norm is at most `maxNorm`; returns the norm before, which may be NaN. */
export function clipGradNorm(parameters: Iterable<Tensor>, maxNorm: number): number {
  return noGrad(() =>
    scope(() => {
      const gradients = [...parameters]
        .map((parameter) => parameter.grad)
        .filter((g): g is Tensor => g !== null);
      if (gradients.length === 0) return 0;
      const norms = op('aten::_foreach_norm', 'Scalar')(gradients, 2) as Tensor[];
      const total = stack(norms).square().sum().sqrt().item();
      // As upstream: the 1e-6 makes a clipped norm end just below the bound, and NaN reaches every gradient.
      const factor = maxNorm / (total + 1e-6);
      if (!(factor >= 1)) op('aten::_foreach_mul_', 'Scalar')(gradients, factor);
      return total;
    }),
  );
}
