/** Owns which entry of a full cache goes first. Knows no entries, only their keys. */

/** Least recently used, least frequently used (the oldest of equals), or first in first out. */
export type EvictionPolicy = 'lru' | 'lfu' | 'fifo';

/** Keys in the order in which they would be dropped; an operation takes constant time, or looks at every count of uses. */
export class EvictionOrder {
  private readonly policy: EvictionPolicy;
  /** Keys by number of uses, each in the order of their last move; one list where uses are not counted. */
  private readonly byUses = new Map<number, Set<string>>();
  private readonly uses = new Map<string, number>();
  /** No count of uses is below it. */
  private fewest = 0;

  constructor(policy: EvictionPolicy) {
    this.policy = policy;
  }

  /** A key that was not there, or was used so often before. */
  add(key: string, uses = 0): void {
    this.place(key, uses);
    this.fewest = Math.min(this.fewest, uses);
  }

  /** A key that is there was asked for. */
  use(key: string): void {
    if (this.policy === 'fifo') return;
    const before = this.uses.get(key)!;
    this.remove(key, before);
    this.place(key, this.policy === 'lfu' ? before + 1 : 0);
  }

  /** Takes the key that goes first out. */
  evict(): string {
    if (!this.byUses.has(this.fewest)) this.fewest = Math.min(...this.byUses.keys());
    const [key] = this.byUses.get(this.fewest)!;
    this.remove(key!, this.fewest);
    this.uses.delete(key!);
    return key!;
  }

  /** All keys with their uses, the first to go first: added again in this order they go in the same order. */
  *entries(): IterableIterator<readonly [key: string, uses: number]> {
    for (const uses of [...this.byUses.keys()].sort((a, b) => a - b))
      for (const key of this.byUses.get(uses)!) yield [key, uses];
  }

  private place(key: string, uses: number): void {
    this.uses.set(key, uses);
    const list = this.byUses.get(uses);
    if (list) list.add(key);
    else this.byUses.set(uses, new Set([key]));
  }

  private remove(key: string, uses: number): void {
    const list = this.byUses.get(uses)!;
    list.delete(key);
    if (list.size === 0) this.byUses.delete(uses);
  }
}
