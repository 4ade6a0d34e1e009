/**
 * Owns how large the engine's cache is: as many slots as there are sequences, or as the bound on its memory allows; the
 * rest waits. Knows no sequence.
 */

import { type CacheShape, cacheBytes, type Decoder, gatheredBytes, KvCache } from '../models/index.ts';
import { deviceMemory, kernelsServe, lacksMemory } from '../torch/index.ts';
import { grantedMemory } from '../util/capacity.ts';

/** What the cache must hold. */
export interface CacheDemand {
  readonly sequences: number;
  readonly requests: number;
  readonly longestPrompt: number;
  readonly maxNewTokens: number;
  readonly maxRows: number | undefined;
  /** Most bytes; by default a quarter of what the machine or a container grants, or of what the GPU has. */
  readonly maxBytes: number | undefined;
  /** Slots beyond those of sequences. */
  readonly spare: number;
}

const defaultRows = 512;

/**
 * The shape that fits, with what a step copies of the cache where no kernel reads it in place: at least one slot, at most
 * `maxRows`, and within the bound unless one slot alone exceeds it.
 */
export function cacheShape(model: Decoder, demand: CacheDemand): CacheShape {
  const { layers, keyValueHeads, headDim } = model.config;
  const shape = (slots: number): CacheShape => ({
    layers,
    keyValueHeads,
    headDim,
    slots: slots + demand.spare,
    capacity: demand.maxNewTokens,
    prefixes: Math.max(1, Math.min(demand.requests, slots)),
    prefixCapacity: Math.max(1, demand.longestPrompt),
  });
  // The whole memory and not the free one, so that the same run has the same batches.
  const bound = demand.maxBytes ?? memoryOf(model.device) / 4;
  let slots = Math.max(1, Math.min(demand.maxRows ?? defaultRows, demand.sequences));
  for (;;) {
    const bytes = plannedBytes(model, shape(slots));
    if (slots === 1 || bytes <= bound) return shape(slots);
    slots = Math.max(1, Math.min(slots - 1, Math.floor((slots * bound) / bytes)));
  }
}

/** A device that does not tell shares the machine's memory, as Apple's GPU does. */
function memoryOf(device: string): number {
  return deviceMemory(device)?.total ?? grantedMemory();
}

function plannedBytes({ computeDtype, device, config }: Decoder, shape: CacheShape): number {
  const inPlace = kernelsServe({ dtype: computeDtype, device });
  return cacheBytes(shape, computeDtype) + (inPlace ? 0 : gatheredBytes(shape, config.heads, computeDtype));
}

/**
 * Allocates the cache; where the device has less memory than that, half the slots are tried, down to one, and `say` is told.
 */
export function allocateCache(model: Decoder, demand: CacheDemand, say: (line: string) => void): KvCache {
  for (let maxRows = demand.maxRows; ; ) {
    const shape = cacheShape(model, { ...demand, maxRows });
    const slots = shape.slots - demand.spare;
    try {
      return new KvCache(shape, model.computeDtype, model.device);
    } catch (error) {
      if (slots === 1 || !lacksMemory(error)) throw error;
      maxRows = Math.ceil(slots / 2);
      const mebibytes = (cacheBytes(shape, model.computeDtype) / 2 ** 20).toFixed(0);
      say(`no memory for keys and values of ${slots} sequences (${mebibytes} MiB), trying ${maxRows}`);
    }
  }
}
