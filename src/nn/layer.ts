/**
 * Owns a leaf of the tree that adapters can change: by name, a low-rank update beside its weight, or other parameters
 * in place of its own. Its own parameters are never written. Knows neither what it computes nor an adapter's file.
 */

import { noGrad, type Tensor } from '../torch/index.ts';
import type { LowRank } from './low-rank.ts';
import { Module } from './module.ts';

/** What one adapter does to one layer; the layer owns it once it is attached. */
export interface LayerAdapter {
  readonly lowRank: LowRank | null;
  /** Parameters in place of the layer's own, by their names. */
  readonly replaced: ReadonlyMap<string, Tensor>;
}

/** A module whose parameters adapters can change; none is in use at first. */
export abstract class Layer extends Module {
  /** The low-rank update in use, or null. */
  lowRank: LowRank | null = null;
  /** The name of the adapter in use, where it changes this layer. */
  inUse: string | null = null;
  /** The parameters in use in place of own ones, or null. */
  protected replaced: ReadonlyMap<string, Tensor> | null = null;
  private readonly adapters = new Map<string, LayerAdapter>();

  /** Gives the layer an adapter, which is not in use yet; one of the same name is freed. */
  attach(name: string, adapter: LayerAdapter): void {
    this.detach(name);
    for (const value of adapter.replaced.values()) value.keep();
    this.adapters.set(name, adapter);
  }

  /** Frees the adapter of that name, if there is one; it must not be in use. */
  detach(name: string): void {
    const adapter = this.adapters.get(name);
    if (!adapter) return;
    adapter.lowRank?.[Symbol.dispose]();
    for (const value of adapter.replaced.values()) value.dispose();
    this.adapters.delete(name);
  }

  /** The adapter of that name, or null where it leaves this layer alone. */
  adapter(name: string): LayerAdapter | null {
    return this.adapters.get(name) ?? null;
  }

  adapterNames(): IterableIterator<string> {
    return this.adapters.keys();
  }

  /** Puts an adapter in use, or none: for null, and for a name that this layer does not have. */
  use(name: string | null): void {
    const adapter = name === null ? null : this.adapter(name);
    this.inUse = adapter ? name : null;
    this.lowRank = adapter?.lowRank ?? null;
    this.replaced = adapter?.replaced ?? null;
  }

  /** Whether the adapter in use changes this layer. */
  get isAdapted(): boolean {
    return this.inUse !== null;
  }

  /** Whether the adapter in use has parameters in place of own ones. */
  get isReplaced(): boolean {
    return (this.replaced?.size ?? 0) > 0;
  }

  /** The layer's parameters with the adapter in use merged; what it changes is fresh, the rest is the layer's own. */
  *mergedParameters(): IterableIterator<[string, Tensor]> {
    for (const [name, own] of this.ownParameters()) yield [name, this.merged(name, own)];
  }

  /** What the adapter in use changes, merged, as tensors that nobody else holds. */
  mergedCopies(): Map<string, Tensor> {
    const names = new Set([...(this.lowRank ? ['weight'] : []), ...(this.replaced?.keys() ?? [])]);
    const bases = this.baseParameters();
    return new Map(
      [...names].map((name) => {
        const base = bases.get(name)!;
        const merged = this.merged(name, base);
        return [
          name,
          merged === base || merged === this.replaced?.get(name) ? merged.detach().clone() : merged,
        ];
      }),
    );
  }

  /** The parameters that adapters can change, without any adapter. */
  baseParameters(): Map<string, Tensor> {
    return new Map(this.ownParameters());
  }

  /** The parameter `own` of that name with the adapter in use merged, in its own dtype. */
  protected merged(name: string, own: Tensor): Tensor {
    const { lowRank } = this;
    const base = this.replaced?.get(name) ?? own;
    const merged = lowRank && name === 'weight' ? noGrad(() => lowRank.effective(base)) : base;
    return merged.dtype === own.dtype ? merged : noGrad(() => merged.to(own.dtype));
  }

  override [Symbol.dispose](): void {
    for (const name of [...this.adapters.keys()]) this.detach(name);
    super[Symbol.dispose]();
  }
}
