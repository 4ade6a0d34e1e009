/** Owns the generic call of any operator by name, with Tensors, lists and named arguments checked against the schema. */

import { ReckonError } from '../util/errors.ts';
import { type Handle, type NativeValue, native } from './addon.ts';
import { Op, type Schema } from './op.ts';
import { Tensor } from './tensor.ts';

/** What an operator's argument may be: tensors, numbers, flags, names, lists of those, null for an absent optional. */
export type OpArgument =
  | Tensor
  | number
  | boolean
  | string
  | null
  | undefined
  | readonly (Tensor | number | boolean | null)[];

/** What an operator gives back. */
export type OpResult = Tensor | number | boolean | string | undefined | OpResult[];

/** Any operator of the dispatcher as a function: `op('aten::add', 'Tensor')(a, b, { alpha: 2 })`. */
export function op(
  name: string,
  overload = '',
): (...values: (OpArgument | Readonly<Record<string, OpArgument>>)[]) => OpResult {
  const found = new Op(name, overload);
  const { schema } = found; // a name that does not exist fails here and not at the first call
  return (...values) => callAny(found, schema, values);
}

type Named = Readonly<Record<string, OpArgument>>;

function callAny(found: Op, schema: Schema, values: readonly (OpArgument | Named)[]): OpResult {
  const expected = schema.arguments;
  const last = values.at(-1);
  const named = isNamed(last) ? last : undefined;
  const positional = (named ? values.slice(0, -1) : values) as OpArgument[];
  for (const key of Object.keys(named ?? {})) {
    if (!expected.some((argument) => argument.name === key))
      throw found.misuse(`it has no argument '${key}'`);
  }
  if (positional.length > expected.length) {
    throw found.misuse(`expected at most ${expected.length} arguments, found ${positional.length}`);
  }
  const converted = expected.map((argument, i) =>
    convert(found, argument, i < positional.length ? positional[i] : named?.[argument.name]),
  );
  try {
    return wrap(schema, native.call(schema.index, ...converted));
  } catch (error) {
    throw error instanceof ReckonError ? error : found.explain(converted, error);
  }
}

function convert(found: Op, argument: Schema['arguments'][number], value: OpArgument): NativeValue {
  const takesTensor = argument.type.includes('Tensor');
  if (value instanceof Tensor) {
    if (takesTensor) return value.handle;
    throw found.misuse(`argument '${argument.name}' must be ${argument.type}, found a Tensor`);
  }
  if (takesTensor && (typeof value === 'number' || typeof value === 'boolean' || typeof value === 'string')) {
    throw found.misuse(
      `argument '${argument.name}' must be a Tensor, found ${typeof value} ${String(value)}`,
    );
  }
  if (!Array.isArray(value)) return value as NativeValue;
  return value.map((item) => {
    if (item instanceof Tensor) return item.handle;
    if (takesTensor && item !== null)
      throw found.misuse(`argument '${argument.name}' must be a list of Tensors`);
    return item;
  }) as NativeValue;
}

function wrap(schema: Schema, result: unknown): OpResult {
  const { results } = schema;
  if (results.length === 0) return undefined;
  if (results.length === 1) return wrapAs(results[0]!, result);
  return (result as unknown[]).map((item, i) => wrapAs(results[i]!, item));
}

function wrapAs(type: string, value: unknown): OpResult {
  if (value === undefined || value === null) return undefined;
  if (type === 'Tensor') return new Tensor(value as Handle);
  if (Array.isArray(value))
    return value.map((item) => wrapAs(type.replace(/^List\[(.*)\]$|\[\]$/, '$1'), item));
  return value as OpResult;
}

function isNamed(value: unknown): value is Readonly<Record<string, OpArgument>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Tensor);
}
