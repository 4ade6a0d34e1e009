/**
 * Owns gradient checkpointing (Chen et al. 2016): blocks keep only their inputs, and are computed once more, from the
 * last to the first, when the gradient comes back. Knows neither what a block computes nor the loss.
 */

import { backward, noGrad, scope, type Tensor } from '../torch/index.ts';

/** What a chain of blocks left, cut from its graph, and the way back through them. */
export interface Checkpointed {
  /** A leaf: what is computed of it leaves its gradient here. */
  readonly output: Tensor;
  /** After `backward` of a loss of `output`: accumulates the gradients of the blocks and of what made the input. */
  readonly close: () => void;
}

/** Runs x through the blocks without keeping their graphs; each must compute the same when it is called again. */
export function checkpointed(x: Tensor, blocks: readonly ((x: Tensor) => Tensor)[]): Checkpointed {
  const inputs = [x.detach()];
  noGrad(() => {
    for (const block of blocks) inputs.push(scope(() => block(inputs.at(-1)!)));
  });
  const output = inputs.pop()!.detach().requiresGrad_();
  const close = (): void => {
    let gradient = output.grad;
    for (const block of [...blocks].reverse()) {
      if (!gradient) return;
      const leaf = inputs.pop()!.requiresGrad_();
      const incoming = gradient;
      scope(() => backward(block(leaf), incoming));
      gradient = leaf.grad;
      leaf.grad = null;
      leaf.dispose();
      incoming.dispose();
    }
    if (gradient && x.requiresGrad) backward(x, gradient);
  };
  return { output, close };
}
