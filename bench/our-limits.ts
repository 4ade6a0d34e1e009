/** Owns the measuring of what the machine can do: dense products and reading memory. */

import { full, packed, packedLinear, scope, type Tensor } from '../src/torch/index.ts';
import type { Step } from './protocol.ts';
import type { LimitsWork } from './works.ts';

const tries = 5;
/** Columns of the matrix that is read. */
const width = 1024;

/**
 * The fastest of a few tries each: GFLOP/s of the library's square products, GB/s of reading an array far larger than any
 * cache. Reading is the faster of the library's sum and our product of one row: on some machines a sum, which takes one line
 * after the other, gets less than the memory gives (docs/performance.md).
 */
export function limitSteps({ size, bytes }: LimitsWork): Step {
  const square = (dtype: 'bf16' | 'f32') => full([size, size], 0.01, dtype).keep();
  const matrices = { bf16: square('bf16'), f32: square('f32') };
  const long = full([bytes / 4], 1, 'f32').keep();
  const inputs = full([1, width], 0.01, 'bf16').keep();
  const matrix = scope(() => packed(full([bytes / 2 / width, width], 0.01, 'bf16'), 'bf16'));
  const product = (matrix: Tensor) => fastest((2 * size ** 3) / 1e9, () => matrix.matmul(matrix));
  return async () => {
    const started = performance.now();
    const parts = {
      gemmBf16: product(matrices.bf16),
      gemmF32: product(matrices.f32),
      read: Math.max(
        fastest(bytes / 1e9, () => long.sum()),
        fastest(bytes / 1e9, () => packedLinear(inputs, matrix)),
      ),
    };
    return { seconds: (performance.now() - started) / 1000, parts };
  };
}

function fastest(amount: number, call: () => Tensor): number {
  const seconds = Array.from({ length: tries }, () =>
    scope(() => {
      const started = performance.now();
      call();
      return (performance.now() - started) / 1000;
    }),
  );
  return amount / Math.min(...seconds);
}
