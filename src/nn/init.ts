/** Owns random initial values: one libtorch generator a parameter, so a value depends on the seed and its name alone. */

import { Generator, invoke, Op, type Tensor, zeros } from '../torch/index.ts';
import { hash32 } from '../util/rng.ts';

const normalOp = new Op('aten::normal_');
const uniformOp = new Op('aten::uniform_');

/** A tensor of independent normal numbers with mean 0. */
export function normal(shape: readonly number[], std: number, seed: number, name: string): Tensor {
  using generator = new Generator(hash32(name, seed >>> 0));
  const values = zeros(shape);
  using _again = invoke(normalOp, values.handle, 0, std, generator.id);
  return values;
}

/** A tensor of independent numbers, uniform between -bound and bound. */
export function uniform(shape: readonly number[], bound: number, seed: number, name: string): Tensor {
  using generator = new Generator(hash32(name, seed >>> 0));
  const values = zeros(shape);
  using _again = invoke(uniformOp, values.handle, -bound, bound, generator.id);
  return values;
}
