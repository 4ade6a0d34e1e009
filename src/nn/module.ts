/** Owns the tree of named parameters that a model is; knows nothing of what they compute. */

import type { Tensor } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';

/** A node of the tree. It owns its parameters: `dispose` frees them and its children's. */
export abstract class Module implements Disposable {
  private readonly own = new Map<string, Tensor>();
  private readonly children = new Map<string, Module>();

  /** Registers a parameter, which lives until the module is disposed. */
  protected parameter(name: string, value: Tensor): Tensor {
    this.own.set(name, value.keep());
    return value;
  }

  /** Frees a parameter that nobody reads any more, if there is one of that name. */
  protected dropParameter(name: string): void {
    this.own.get(name)?.dispose();
    this.own.delete(name);
  }

  /** Registers a child, which is disposed with this module. */
  protected child<T extends Module>(name: string, module: T): T {
    this.children.set(name, module);
    return module;
  }

  /** Every parameter below, with its dotted name as in the Hugging Face state dict, in a fixed order. */
  *namedParameters(prefix = ''): IterableIterator<[string, Tensor]> {
    for (const [name, value] of this.own) yield [prefix + name, value];
    for (const [name, module] of this.children) yield* module.namedParameters(`${prefix}${name}.`);
  }

  /** Every module below and this one, with its dotted path; '' is this one. */
  *namedModules(path = ''): IterableIterator<[string, Module]> {
    yield [path, this];
    for (const [name, module] of this.children) yield* module.namedModules(path ? `${path}.${name}` : name);
  }

  /** The parameters registered with this module itself. */
  ownParameters(): IterableIterator<[string, Tensor]> {
    return this.own.entries();
  }

  /** The state dict: the parameters by name, still owned by the module. */
  stateDict(): Map<string, Tensor> {
    return new Map(this.namedParameters());
  }

  /** Number of scalars in all parameters. */
  get parameterCount(): number {
    let count = 0;
    for (const [, value] of this.namedParameters()) count += value.numel;
    return count;
  }

  [Symbol.dispose](): void {
    for (const value of this.own.values()) value.dispose();
    for (const module of this.children.values()) module[Symbol.dispose]();
  }
}

/** Takes the tensor of a state dict by name, checking its shape. */
export function takeParameter(
  state: ReadonlyMap<string, Tensor>,
  name: string,
  shape: readonly number[],
): Tensor {
  const value = state.get(name);
  if (!value) {
    throw new ReckonError(
      'data',
      'missing-tensor',
      `the model needs a tensor '${name}' of shape [${shape.join(', ')}], and the checkpoint has none of that name`,
    );
  }
  const found = value.shape;
  if (found.length === shape.length && found.every((size, i) => size === shape[i])) return value;
  throw new ReckonError(
    'data',
    'wrong-shape',
    `tensor '${name}' must have shape [${shape.join(', ')}] by the config, found [${found.join(', ')}]`,
  );
}
