/** Owns grad mode and the backward pass; no autograd node ever calls JavaScript. */

import { native } from './addon.ts';
import { Op } from './op.ts';
import type { Tensor } from './tensor.ts';

const backwardOp = new Op('aten::_backward');

/**
 * Accumulates d(root)/d(leaf) into the `grad` of every leaf that requires it. `gradient` has the root's shape and may
 * be left out where the root has one element. The graph is freed unless `retain` says that it is walked again.
 */
export function backward(root: Tensor, gradient: Tensor | null = null, retain = false): void {
  backwardOp.raw(root.handle, [], gradient?.handle ?? null, retain, false);
}

/** Runs `fn` without recording gradients. */
export function noGrad<T>(fn: () => T): T {
  return withGrad(false, fn);
}

/** Runs `fn` recording gradients, also inside `noGrad`. */
export function enableGrad<T>(fn: () => T): T {
  return withGrad(true, fn);
}

function withGrad<T>(on: boolean, fn: () => T): T {
  const before = native.gradEnabled();
  native.setGradEnabled(on);
  try {
    return fn();
  } finally {
    native.setGradEnabled(before);
  }
}
