/** Owns that arrays of the same bytes are equal at once: element by element, `toEqual` takes seconds for what is large. */

import { expect } from 'vitest';

/** True where all bytes are the same, which is stricter than `toEqual`; undefined leaves the verdict to `toEqual`. */
function equalBytes(a: unknown, b: unknown): true | undefined {
  if (!ArrayBuffer.isView(a) || !ArrayBuffer.isView(b)) return undefined;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b) || a.byteLength !== b.byteLength)
    return undefined;
  return bytesOf(a).equals(bytesOf(b)) ? true : undefined;
}

const bytesOf = ({ buffer, byteOffset, byteLength }: ArrayBufferView): Buffer =>
  Buffer.from(buffer, byteOffset, byteLength);

expect.addEqualityTesters([equalBytes]);
