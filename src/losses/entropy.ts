/** Owns which tokens count as uncertain: those of highest entropy (Wang et al. 2025, "Beyond the 80/20 rule"). */

import { fromBytes, op, scope, type Tensor } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';

const quantile = op('aten::quantile', 'scalar') as (values: Tensor, place: number) => Tensor;

/**
 * 1 for the tokens whose entropy is at least the (1 - share) quantile of all, with linear interpolation; else 0. The
 * entropies are those of the whole optimizer batch, so that the choice does not depend on micro-batches; all is in f32
 * by torch's own quantile, where a place such as 0.3 x 20 is the seventh value and not a hair above it.
 */
export function highEntropyMask(entropies: ArrayLike<number>, share: number): Uint8Array {
  if (!(share >= 0 && share <= 1)) {
    const message = `expected a share of tokens between 0 and 1, found ${share}`;
    throw new ReckonError('usage', 'bad-share', message);
  }
  const values = Float32Array.from(entropies);
  if (values.length === 0) return new Uint8Array();
  const least = scope(() => quantile(fromBytes(values, 'f32', [values.length]), 1 - share).item());
  return Uint8Array.from(values, (value) => Number(value >= least));
}

/** How the weight of the entropy bonus follows the policy's entropy. */
export interface AdaptiveEntropyOptions {
  /** Nats a token: up to it the weight rises, above it falls. */
  readonly target: number;
  /** By how much after each optimizer step. */
  readonly delta: number;
  readonly min: number;
  readonly max: number;
}

/**
 * The weight for the next optimizer step, and whether the bonus counts there: only while the entropy of the last step is
 * at most the target (Skywork-OR1, He et al. 2025). Before the first step there is none.
 */
export function adaptEntropyCoefficient(
  coefficient: number,
  entropy: number,
  { target, delta, min, max }: AdaptiveEntropyOptions,
): { readonly coefficient: number; readonly counts: boolean } {
  const moved = entropy <= target ? coefficient + delta : coefficient - delta;
  return { coefficient: Math.min(max, Math.max(min, moved)), counts: entropy <= target };
}
