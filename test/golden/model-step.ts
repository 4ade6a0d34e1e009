/** Owns what the golden cases of one training step on a model share: rows with labels, and gradients by name. */

import { join } from 'node:path';
import { type Decoder, loadModel, type RowLayout } from '../../src/models/index.ts';
import { arange, scope, type Tensor } from '../../src/torch/index.ts';
import { type Case, type Got, root } from './case.ts';

/** The case's model in f32 with gradients on; the caller disposes it. */
export function trainableModel(one: Case, role = 'model'): Decoder {
  const model = loadModel(join(root, one.uses[role]!), { dtype: 'f32', computeDtype: 'f32', device: 'cpu' });
  for (const [, parameter] of model.namedParameters()) parameter.requiresGrad_();
  return model;
}

/** `grad.*` of every parameter. */
export function gradientsOf(model: Decoder): Got {
  return scope(() => {
    const got: Got = {};
    for (const [name, parameter] of model.namedParameters())
      if (parameter.grad) got[`grad.${name}`] = parameter.grad.toFloat32();
    return got;
  });
}

/** Rows padded on the right to one width. */
export function padded(rows: readonly (readonly number[])[], value: number): number[][] {
  const width = Math.max(...rows.map((row) => row.length));
  return rows.map((row) => [...row, ...new Array<number>(width - row.length).fill(value)]);
}

/** Padding, on whichever side, is a segment of its own; positions count it, as a plain call of the reference does. */
export function paddedLayout(mask: Tensor | undefined): RowLayout | undefined {
  return mask && { positions_BT: positionsOf(mask), segments_BT: mask };
}

/** 0, 1, 2, ... in every row. */
export function positionsOf({ shape }: Tensor): Tensor {
  return arange(0, shape[1]!).unsqueeze(0).expand(shape).contiguous();
}
