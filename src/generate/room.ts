/** Owns the memory that the sequences of a batch share: the cache, which of its slots are free, the prompts in it. */

import type { Decoder, KvCache } from '../models/index.ts';
import { allocateCache, type CacheDemand } from './cache-plan.ts';
import { descending, type PrefillLimits, Prompts } from './prompts.ts';

/** What a batch runs in, made at once and never grown. */
export class Room implements Disposable {
  readonly cache: KvCache;
  readonly prompts: Prompts;
  /** Sequences at once. */
  readonly slots: number;
  /** A slot that no sequence has, where rows go that only fill up a shape; null where none are needed. */
  readonly spare: number | null;
  private readonly free: number[];

  /** As large as asked for, or as there is memory for, which `say` is told. */
  constructor(model: Decoder, demand: CacheDemand, limits: PrefillLimits, say: (line: string) => void) {
    this.cache = allocateCache(model, demand, say);
    this.prompts = new Prompts(model, this.cache, limits);
    this.slots = this.cache.shape.slots - demand.spare;
    this.spare = demand.spare > 0 ? this.slots : null;
    this.free = descending(this.slots);
  }

  get freeSlots(): number {
    return this.free.length;
  }

  takeSlot(): number {
    return this.free.pop()!;
  }

  giveSlot(slot: number): void {
    this.free.push(slot);
  }

  [Symbol.dispose](): void {
    this.prompts[Symbol.dispose]();
    this.cache[Symbol.dispose]();
  }
}
