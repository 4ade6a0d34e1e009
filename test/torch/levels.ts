/** Owns what the tests of kernels share: the levels of this processor, random inputs, and computing at one of the levels. */

import { expect } from 'vitest';
import {
  type DType,
  kernelLevel,
  kernelLevels,
  noGrad,
  op,
  type PackedMatrix,
  packed,
  packedLinear,
  scope,
  setThreads,
  type Tensor,
  threads,
  useKernels,
} from '../../src/torch/index.ts';

/** All levels but `none`. */
export const levels: readonly string[] = kernelLevels().slice(1);
const dtypes = ['f32', 'bf16'] as const;
/** Every level with every dtype that kernels serve. */
export const levelsAndDtypes: readonly (readonly [string, DType])[] = levels.flatMap((level) =>
  dtypes.map((dtype) => [level, dtype] as const),
);
/** Rows, inputs and outputs: tiles and blocks that are full and not, odd numbers of inputs, more than one stretch. */
export const productShapes = [
  [1, 64, 64],
  [3, 40, 7],
  [6, 5, 131],
  [7, 896, 130],
  [16, 33, 66],
  [64, 128, 200],
  [70, 96, 36],
] as const;
/** Those at which products of whole sequences in bf16 have the bits of those of decoding: the processor multiplies bf16. */
export const pairLevels: readonly string[] = levels.filter((level) => ['avx512bf16', 'amx'].includes(level));
export const multipliesBf16: boolean = pairLevels.length > 0;

/** What `compute` gives at a level; the one before is in use again afterwards. */
export function withLevel<T>(level: string, compute: () => T): T {
  const before = kernelLevel();
  useKernels(level);
  try {
    return compute();
  } finally {
    useKernels(before);
  }
}

/** The same in a scope of its own and without gradients. */
export const at = <T>(level: string, compute: () => T): T =>
  withLevel(level, () => noGrad(() => scope(compute)));

export const randn = (shape: readonly number[], dtype: DType): Tensor =>
  (op('aten::randn')(shape) as Tensor).to(dtype);

export const largest = (values: Float32Array): number =>
  values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

/** That a row of a packed product has the same bits alone, among others, and on any number of threads. */
export function expectSameRows(level: string, x: Tensor, matrix: PackedMatrix): void {
  const product = (rows: Tensor) => at(level, () => packedLinear(rows, matrix).toFloat32());
  const all = product(x);
  for (const [first, count] of [
    [0, 1],
    [5, 2],
    [17, 6],
    [30, 13],
    [0, x.size(0)],
  ] as const) {
    const expected = all.subarray(first * matrix.out, (first + count) * matrix.out);
    expect(sameBits(product(x.narrow(0, first, count)), expected)).toBe(true);
  }
  const before = threads();
  for (const count of [1, 2, 3]) {
    setThreads(count);
    expect(sameBits(product(x), all)).toBe(true);
  }
  setThreads(before);
}

/** That every output of a packed product is there, whatever the pieces that threads take. */
export function expectAllOutputs(level: string, dtype: DType): void {
  const ins = 1024;
  const x = randn([9, ins], dtype);
  const before = threads();
  for (const blocks of [1, 2, 3, 4, 7, 8, 15, 17, 24, 33, 50]) {
    for (const out of [blocks * 64, blocks * 64 - 61]) {
      const matrix = packed(randn([out, ins], dtype).mul(1 / 32), dtype);
      const [alone, ...shared] = [1, 2, 3, 5].map((count) => {
        setThreads(count);
        return at(level, () => packedLinear(x, matrix).toFloat32());
      });
      for (const values of shared) expect(sameBits(values, alone!), `${out} outputs`).toBe(true);
    }
  }
  setThreads(before);
}

/** Whether all numbers have the same bits; comparing them one by one as `toEqual` does takes a hundred times as long. */
export const sameBits = (a: Float32Array, b: Float32Array): boolean => bytesOf(a).equals(bytesOf(b));

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  Buffer.from(buffer, byteOffset, byteLength);
