/** Owns what is process-wide in libtorch: threads, devices, generators, and what it says of itself. */

import { messageOf, ReckonError } from '../util/errors.ts';
import { native, type RuntimeDescription } from './addon.ts';
import { Tensor } from './tensor.ts';

/** Versions, CPU kernels in use, devices and threads, as libtorch reports them. */
export function describeRuntime(): RuntimeDescription {
  return native.describe();
}

/** Threads inside one operator. */
export function threads(): number {
  return native.threads();
}

export function setThreads(count: number): void {
  try {
    native.setThreads(count);
  } catch (error) {
    throw new ReckonError('usage', 'bad-threads', messageOf(error));
  }
}

/** The devices that tensors can live on here, the best one first. */
export function devices(): string[] {
  const { cudaDevices, mps } = native.describe();
  return [...Array.from({ length: cudaDevices }, (_, i) => `cuda:${i}`), ...(mps ? ['mps'] : []), 'cpu'];
}

/** Seeds libtorch's default generators; reckon's own sampling never reads them. */
export function manualSeed(seed: number): void {
  native.manualSeed(seed);
}

/** A libtorch random generator, for operators that take one. */
export class Generator implements Disposable {
  readonly id: number;

  constructor(seed: number, device = 'cpu') {
    this.id = native.makeGenerator(device, seed);
  }

  /** Its whole state as bytes on the CPU; `state = bytes` puts it back exactly. */
  get state(): Tensor {
    return new Tensor(native.generatorState(this.id));
  }
  set state(bytes: Tensor) {
    native.setGeneratorState(this.id, bytes.handle);
  }

  [Symbol.dispose](): void {
    native.freeGenerator(this.id);
  }
}
