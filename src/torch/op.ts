/**
 * Owns the call of one operator of libtorch's dispatcher on native values: lookup by name, and errors that name the
 * operator and what it was given. Knows no particular operator and no Tensor class.
 */

import { messageOf, ReckonError } from '../util/errors.ts';
import { type NativeValue, native } from './addon.ts';
import { dtypeOf } from './dtype.ts';
import { lacksMemory, outOfMemory } from './memory.ts';

/** An operator's signature as the dispatcher states it. */
export interface Schema {
  readonly index: number;
  readonly text: string;
  readonly arguments: readonly { readonly name: string; readonly type: string; readonly optional: boolean }[];
  readonly results: readonly string[];
}

/** One overload of an operator; found in the dispatcher at its first call. */
export class Op {
  readonly name: string;
  readonly overload: string;
  private found: Schema | undefined;
  private index = -1;

  constructor(name: string, overload = '') {
    this.name = name;
    this.overload = overload;
  }

  get schema(): Schema {
    this.found ??= findSchema(this.name, this.overload);
    return this.found;
  }

  /** Calls with values that are already native (tensors as handles); the fast path of the typed operators. */
  raw(
    a?: NativeValue,
    b?: NativeValue,
    c?: NativeValue,
    d?: NativeValue,
    e?: NativeValue,
    f?: NativeValue,
    g?: NativeValue,
    h?: NativeValue,
  ): unknown {
    if (this.index < 0) this.index = this.schema.index;
    try {
      return native.call(this.index, a, b, c, d, e, f, g, h);
    } catch (error) {
      throw this.explain([a, b, c, d, e, f, g, h], error);
    }
  }

  /** The error for a call that does not fit the schema. */
  misuse(why: string): ReckonError {
    return new ReckonError(
      'tensor',
      'op-misuse',
      `${qualified(this)}: ${why}; its schema is ${this.schema.text}`,
    );
  }

  /** libtorch's error with the operator, and the shapes and dtypes of its arguments. */
  explain(values: readonly NativeValue[], error: unknown): ReckonError {
    const shown = this.schema.arguments
      .map((argument, i) => `${argument.name}=${describeArgument(argument.type, values[i])}`)
      .filter((text) => !text.endsWith('=default'));
    if (lacksMemory(error)) return outOfMemory(`${qualified(this)} (called with ${shown.join(', ')})`, error);
    return new ReckonError(
      'tensor',
      'op-failed',
      `${qualified(this)} failed: ${messageOf(error).trim()} (called with ${shown.join(', ')})`,
      { cause: error },
    );
  }
}

function findSchema(name: string, overload: string): Schema {
  const json = native.find(name, overload);
  if (json !== undefined) return JSON.parse(json) as Schema;
  const others = native.names().filter((known) => known === name || known.startsWith(`${name}.`));
  const hint = others.length > 0 ? `; it has the overloads ${others.sort().join(', ')}` : '';
  const wanted = overload ? `${name}.${overload}` : name;
  if (name.startsWith('reckon::')) {
    const message = `the native part has no operator ${wanted}, so it is older than src/; compile it anew: reckon setup`;
    throw new ReckonError('environment', 'old-native-part', message);
  }
  throw new ReckonError('tensor', 'no-such-op', `this libtorch has no operator ${wanted}${hint}`);
}

function qualified(operator: Op): string {
  return operator.overload ? `${operator.name}.${operator.overload}` : operator.name;
}

function describeValue(value: unknown): string {
  if (value === undefined) return 'default';
  if (Array.isArray(value)) return `[${value.join(', ')}]`;
  return `${typeof value} ${String(value)}`;
}

function describeArgument(type: string, value: NativeValue): string {
  if (!type.includes('Tensor') || value === undefined || value === null)
    return describeValue(value ?? undefined);
  if (Array.isArray(value)) return `[${value.map((item) => describeHandle(item as number)).join(', ')}]`;
  return describeHandle(value as number);
}

function describeHandle(handle: number): string {
  try {
    return `${dtypeOf(native.dtype(handle))}[${native.sizes(handle).join(', ')}]`;
  } catch {
    return 'a freed tensor';
  }
}
