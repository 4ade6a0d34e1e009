/** Owns the names of element types, their libtorch codes, sizes and typed arrays. */

import { ReckonError } from '../util/errors.ts';

export type DType = 'f32' | 'bf16' | 'f16' | 'f64' | 'i64' | 'i32' | 'i16' | 'i8' | 'u8' | 'bool';

const table: Readonly<Record<DType, { readonly code: number; readonly bytes: number }>> = {
  u8: { code: 0, bytes: 1 },
  i8: { code: 1, bytes: 1 },
  i16: { code: 2, bytes: 2 },
  i32: { code: 3, bytes: 4 },
  i64: { code: 4, bytes: 8 },
  f16: { code: 5, bytes: 2 },
  f32: { code: 6, bytes: 4 },
  f64: { code: 7, bytes: 8 },
  bool: { code: 11, bytes: 1 },
  bf16: { code: 15, bytes: 2 },
};

const byCode = new Map((Object.keys(table) as DType[]).map((name) => [table[name].code, name]));

/** libtorch's ScalarType number, as operators' `dtype` arguments take it. */
export function dtypeCode(dtype: DType): number {
  const entry = table[dtype];
  if (!entry) {
    throw new ReckonError(
      'tensor',
      'unknown-dtype',
      `expected a dtype of ${Object.keys(table).join(', ')}, found '${dtype}'`,
    );
  }
  return entry.code;
}

/** Bytes an element takes. */
export function dtypeBytes(dtype: DType): number {
  return table[dtype].bytes;
}

/** The name of a ScalarType number. */
export function dtypeOf(code: number): DType {
  const name = byCode.get(code);
  if (!name)
    throw new ReckonError('tensor', 'unknown-dtype', `libtorch's dtype ${code} has no name in reckon`);
  return name;
}

/** Whether gradients exist for it. */
export function isFloating(dtype: DType): boolean {
  return dtype === 'f32' || dtype === 'bf16' || dtype === 'f16' || dtype === 'f64';
}
