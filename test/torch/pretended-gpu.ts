/**
 * Owns a pretended GPU: tensors lie on the CPU under the name of a device, and calls fail that would fail on a real one: of
 * tensors from two devices, of kernels that only the CPU has, and of more memory than it is said to have. Knows no model.
 */

import type { Addon, NativeValue } from '../../src/torch/addon.ts';
import type { Schema } from '../../src/torch/op.ts';

/** Own kernels that any device takes (native/kernels/library-product.cpp). */
const anywhere = new Set(['reckon::product']);

/** What was seen of it, and how much it can take. */
export class PretendedGpu {
  /** As `devices()` lists them. */
  count = 2;
  /** Times that values were read, each of which waits for the device. */
  reads = 0;
  /** Copies to it that wait until it has done all that it was asked for. */
  waits = 0;
  /** Calls of operators on it. */
  calls = 0;
  /** Whether the next call of this operator finds no memory, by its name and what it is given. */
  lacksMemoryFor: (name: string, shapes: readonly (readonly number[])[]) => boolean = () => false;
  /** What each has, and what tensors are said to have held of it. */
  memory: { readonly total: number; readonly peak: number } = { total: 2 ** 32, peak: 2 ** 20 };
  /** Devices whose caches were emptied. */
  readonly freed: string[] = [];
}

/** The addon on a machine that has it. */
export function addonWith(gpu: PretendedGpu, real: Addon): Addon {
  const schemas = new Map<number, { readonly name: string; readonly schema: Schema }>();
  /** The device of every tensor and generator that is not on the CPU. */
  const places = new Map<number, string>();
  const generators = new Map<number, string>();
  const deviceOf = (handle: number) => places.get(handle) ?? real.device(handle);
  const place = (result: unknown, type: string, device: string): void => {
    if (device === 'cpu' || !type.includes('Tensor') || result === undefined) return;
    for (const handle of [result].flat() as number[]) places.set(handle, device);
  };

  const call = (index: number, ...given: NativeValue[]): unknown => {
    const { name, schema } = schemas.get(index)!;
    const handles = tensorsAmong(schema, given);
    const devices = handles.map(deviceOf);
    const asked = schema.arguments.findIndex(({ type }) => type.includes('Device'));
    const wanted = given[asked] as string | undefined;
    const values = given.map((value, i) => (i === asked && value !== undefined ? 'cpu' : value));
    const onGpu = devices.some(isGpu) || (wanted !== undefined && isGpu(wanted));
    if (name === 'aten::to.device') {
      if (wanted !== devices[0]) values[4] = true;
      if (onGpu && devices[0] === 'cpu' && given[3] !== true) gpu.waits++;
      if (wanted === 'cpu' && isGpu(devices[0]!)) gpu.reads++;
    } else if (name === 'aten::copy_') {
      if (isGpu(devices[0]!) && devices[1] === 'cpu' && given[2] !== true) gpu.waits++;
    } else if (onGpu) {
      // One number may come from the CPU.
      const own = new Set(devices.filter((_, i) => real.sizes(handles[i]!).length > 0));
      if (own.size > 1)
        throw new Error(`expected all tensors on one device, found ${devices.join(', ')} (${name})`);
      if (name.startsWith('reckon::') && !anywhere.has(name))
        throw new Error(`could not run '${name}' with arguments from the 'CUDA' backend`);
      const generator = given[schema.arguments.findIndex(({ type }) => type.includes('Generator'))];
      if (typeof generator === 'number' && !isGpu(generators.get(generator) ?? 'cpu'))
        throw new Error(`expected a generator of the GPU (${name})`);
    }
    if (onGpu) {
      gpu.calls++;
      const shapes = handles.map((handle) => real.sizes(handle));
      if (gpu.lacksMemoryFor(name, shapes))
        throw Object.assign(new Error('CUDA out of memory. Tried to allocate 2.00 GiB.'), {
          code: 'OUT_OF_MEMORY',
        });
    }
    const result = real.call(index, ...values);
    const device = wanted ?? devices.find(isGpu) ?? 'cpu';
    if (schema.results.length === 1) place(result, schema.results[0]!, device);
    else schema.results.forEach((type, i) => void place((result as unknown[])[i], type, device));
    return result;
  };

  return {
    ...real,
    find: (name, overload) => {
      const json = real.find(name, overload);
      if (json === undefined) return undefined;
      const schema = JSON.parse(json) as Schema;
      schemas.set(schema.index, { name: overload ? `${name}.${overload}` : name, schema });
      return json;
    },
    call,
    device: deviceOf,
    toBytes: (handle, target) => {
      if (isGpu(deviceOf(handle))) gpu.reads++;
      real.toBytes(handle, target);
    },
    grad: (handle) => {
      const gradient = real.grad(handle);
      if (gradient !== undefined) place(gradient, 'Tensor', deviceOf(handle));
      return gradient;
    },
    makeGenerator: (device, seed) => {
      const id = real.makeGenerator('cpu', seed);
      generators.set(id, device);
      return id;
    },
    freeCachedMemory: (device) => {
      gpu.freed.push(device);
      if (!isGpu(device)) real.freeCachedMemory(device);
    },
    deviceMemory: (device) => (isGpu(device) ? gpu.memory : real.deviceMemory(device)),
    describe: () => ({ ...real.describe(), cuda: true, cudaDevices: gpu.count }),
  };
}

const isGpu = (device: string): boolean => device.startsWith('cuda');

function tensorsAmong({ arguments: expected }: Schema, values: readonly NativeValue[]): number[] {
  return expected.flatMap(({ type }, i) => {
    const value = values[i];
    if (!type.includes('Tensor') || value === undefined || value === null) return [];
    return [value].flat().filter((one): one is number => typeof one === 'number');
  });
}
