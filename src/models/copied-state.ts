/** Owns the copying of a model's weights, adapter merged, in another dtype or in 8 bit. Knows no particular architecture. */

import { Linear, type Module, mergedParameters, scaleName } from '../nn/index.ts';
import { type DType, quantised, scope, type Tensor } from '../torch/index.ts';

/** How the matrices of a model's blocks are kept: as its other weights are, or in 8 bit with a scale for each row. */
export type WeightFormat = 'full' | 'int8';

/**
 * Copies of every weight, the adapter in use merged, in `dtype`, but the matrices of linear layers that `rounds` says yes
 * to, which are rounded to 8 bit. What is in 8 bit already stays so and is shared: nobody writes to it. One weight at a
 * time is held beside them.
 */
export function copiedState(
  model: Module,
  dtype: DType,
  rounds: (path: string) => boolean,
): Map<string, Tensor> {
  const rounded = new Set<string>();
  for (const [path, module] of model.namedModules())
    if (module instanceof Linear && rounds(path)) rounded.add(`${path}.weight`);
  const state = new Map<string, Tensor>();
  const parameters = mergedParameters(model);
  const copyNext = (): [string, Tensor][] | null => {
    const { done, value: entry } = parameters.next();
    return done ? null : copiesOf(entry[0], entry[1], dtype, rounded.has(entry[0]));
  };
  for (let copies = scope(copyNext); copies; copies = scope(copyNext))
    for (const [name, value] of copies) state.set(name, value);
  return state;
}

function copiesOf(name: string, value: Tensor, dtype: DType, round: boolean): [string, Tensor][] {
  const detached = value.detach();
  if (value.dtype === 'i8' || name.endsWith(`.${scaleName}`)) return [[name, detached]];
  if (!round) return [[name, detached.dtype === dtype ? detached.clone() : detached.to(dtype)]];
  const { values, scales } = quantised(detached);
  return [
    [name, values],
    [`${name.slice(0, -'weight'.length)}${scaleName}`, scales],
  ];
}
