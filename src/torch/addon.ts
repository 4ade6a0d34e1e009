/** Owns the whole typed surface of the native addon; nothing else in the project touches the raw addon. */

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { messageOf, ReckonError } from '../util/errors.ts';
import { PACKAGE_ROOT } from '../util/place.ts';

/** A live tensor's slot and generation as one number. */
export type Handle = number;

/** What an operator's argument may be on its way into the addon (tensors as handles). */
export type NativeValue =
  | number
  | boolean
  | string
  | null
  | undefined
  | readonly (number | boolean | string | null | undefined)[];

export interface RuntimeDescription {
  readonly torch: string;
  readonly cpuCapability: string;
  readonly mkldnn: boolean;
  readonly mkl: boolean;
  readonly cuda: boolean;
  readonly cudaDevices: number;
  readonly mps: boolean;
  readonly threads: number;
}

/**
 * Every function of the addon. Each throws a plain Error with libtorch's own text, without a C++ backtrace; its `code` is
 * `OUT_OF_MEMORY` where an allocator had no more.
 */
export interface Addon {
  /** The operator's index and schema as JSON, or undefined where the dispatcher has no such operator. */
  find(name: string, overload: string): string | undefined;
  call(index: number, ...values: NativeValue[]): unknown;
  names(): string[];
  fromBytes(bytes: NodeJS.TypedArray, dtype: number, sizes: readonly number[]): Handle;
  toBytes(handle: Handle, target: NodeJS.TypedArray): void;
  sizes(handle: Handle): number[];
  dtype(handle: Handle): number;
  device(handle: Handle): string;
  requiresGrad(handle: Handle): boolean;
  setRequiresGrad(handle: Handle, on: boolean): void;
  grad(handle: Handle): Handle | undefined;
  setGrad(handle: Handle, gradient: Handle | null): void;
  release(handle: Handle): void;
  keep(handle: Handle): void;
  scopeEnter(): number;
  scopeExit(survivors: readonly Handle[]): void;
  liveTensors(): number;
  makeGenerator(device: string, seed: number): number;
  freeGenerator(id: number): void;
  generatorState(id: number): Handle;
  setGeneratorState(id: number, state: Handle): void;
  manualSeed(seed: number): void;
  gradEnabled(): boolean;
  setGradEnabled(on: boolean): void;
  threads(): number;
  setThreads(count: number): void;
  /** The instruction sets that this processor has kernels for, the best one last. */
  kernelNames(): string[];
  useKernels(name: string): void;
  /** Hands back the memory that a device's allocator keeps and no tensor uses. */
  freeCachedMemory(device: string): void;
  deviceMemory(device: string): { readonly total: number; readonly peak: number } | undefined;
  describe(): RuntimeDescription;
}

/** The loaded addon. Importing this file loads libtorch (about 0.2 s), once a process. */
export const native: Addon = load();

function load(): Addon {
  const path = join(PACKAGE_ROOT, 'build', 'reckon.node');
  spinBriefly();
  try {
    return createRequire(import.meta.url)(path) as Addon;
  } catch (error) {
    throw new ReckonError(
      'environment',
      'addon-not-loaded',
      `the native addon could not be loaded (${messageOf(error).split('\n')[0]}); run \`reckon setup\`, then \`reckon doctor\``,
      { cause: error },
    );
  }
}

/**
 * GNU OpenMP spins for milliseconds at every barrier, so on a machine that is busy with something else a step of small
 * operators gets tens of times slower. It reads this once, when it is loaded; a user's own setting is left alone.
 */
function spinBriefly(): void {
  if (process.env['OMP_WAIT_POLICY'] === undefined) process.env['GOMP_SPINCOUNT'] ??= '5000';
}
