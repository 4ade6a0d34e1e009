/** Owns what it means that a device has no more memory, and how its caches are emptied. Decides nothing about batches. */

import { messageOf, ReckonError } from '../util/errors.ts';
import { native } from './addon.ts';

const code = 'out-of-memory';

/** Whether an allocator had no more, in an error of the addon or in one of ours. */
export function lacksMemory(error: unknown): boolean {
  if (error instanceof ReckonError) return error.code === code;
  return error instanceof Error && 'code' in error && error.code === 'OUT_OF_MEMORY';
}

/** The error of what asked for the memory, with libtorch's own first line, which has the sizes. */
export function outOfMemory(asker: string, error: unknown): ReckonError {
  const found = messageOf(error).trim().split('\n')[0]!;
  return new ReckonError(
    'environment',
    code,
    `${asker} found no memory: ${found}; take a smaller microBatchTokens, or compute.gradientCheckpointing: true`,
    { cause: error },
  );
}

/**
 * Bytes of a device: what it has, and the most that tensors have held of it in this process. Null where its allocator does
 * not say, as the CPU's.
 */
export function deviceMemory(device: string): { readonly total: number; readonly peak: number } | null {
  return native.deviceMemory(device) ?? null;
}

/** Hands back the memory that a device's allocator keeps for later; live tensors stay. */
export function freeCachedMemory(device: string): void {
  native.freeCachedMemory(device);
}
