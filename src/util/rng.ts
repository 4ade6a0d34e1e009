/**
 * Owns counter-based random numbers (Philox 4x32-10, Salmon et al. 2011): a number depends on its key and its
 * counter alone, never on how many were drawn before. Knows nothing of tokens or tensors.
 */

import { ReckonError } from './errors.ts';

export type Words4 = readonly [number, number, number, number];
export type Words2 = readonly [number, number];

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** The Philox 4x32-10 block function: four 32-bit words from a 128-bit counter and a 64-bit key. */
export function philox(counter: Words4, key: Words2): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const high0 = multiplyHigh(M0, c0);
    const low0 = Math.imul(M0, c0) >>> 0;
    const high1 = multiplyHigh(M1, c2);
    const low1 = Math.imul(M1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The upper 32 bits of the 64-bit product of two unsigned 32-bit numbers. */
function multiplyHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carry = (middle & 0xffff) + aLow * bHigh;
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(carry / 65536)) >>> 0;
}

/** Which stream of random numbers: equal parts give equal streams on every machine. */
export interface StreamId {
  readonly seed: number;
  /** What the stream is for ('sample', 'shuffle', 'init', ...), so that uses never share numbers. */
  readonly purpose: string;
  readonly step?: number;
  /** Problem id, epoch, parameter name: whatever tells one stream of a purpose from another. */
  readonly id?: string;
  /** Sample index inside a group. */
  readonly index?: number;
}

/** A seekable stream of random numbers; reading never changes another stream. */
export class Rng {
  private readonly key: Words2;
  private readonly high: Words2;
  private position = 0;
  private block: Words4 = [0, 0, 0, 0];
  private blockIndex = -1;

  constructor(id: StreamId) {
    const text = `${id.purpose}\u0000${id.id ?? ''}`;
    this.key = [id.seed >>> 0, hash32(text, (Math.floor(id.seed / 2 ** 32) ^ 0x811c9dc5) >>> 0)];
    this.high = [(id.step ?? 0) >>> 0, (id.index ?? 0) >>> 0];
  }

  /** The 32-bit word at a position, whatever was read before. */
  wordAt(position: number): number {
    const blockIndex = Math.floor(position / 4);
    if (blockIndex !== this.blockIndex) {
      this.block = philox([blockIndex >>> 0, hash32('block', 7), this.high[0], this.high[1]], this.key);
      this.blockIndex = blockIndex;
    }
    return this.block[position % 4]!;
  }

  /** A uniform number in [0, 1) with 32 bits at a position: the sampler's use, one a token. */
  uniformAt(position: number): number {
    return this.wordAt(position) / 2 ** 32;
  }

  /** The next uniform number in [0, 1). */
  uniform(): number {
    return this.uniformAt(this.position++);
  }

  /** An integer in [0, n), unbiased by rejection. Throws `rng-range` unless n is a safe integer, 1 or more. */
  integer(n: number): number {
    if (!Number.isSafeInteger(n) || n < 1)
      throw new ReckonError('internal', 'rng-range', `Expected a number of choices of 1 or more, found ${n}`);
    const wide = n > 2 ** 32;
    const span = wide ? 2 ** 53 : 2 ** 32;
    const limit = span - (span % n);
    for (;;) {
      const word = this.wordAt(this.position++);
      const drawn = wide ? (word % 2 ** 21) * 2 ** 32 + this.wordAt(this.position++) : word;
      if (drawn < limit) return drawn % n;
    }
  }

  /** A standard normal number (Box-Muller, two words each). */
  normal(): number {
    const u = (this.wordAt(this.position++) + 0.5) / 2 ** 32;
    const v = this.uniform();
    return Math.sqrt(-2 * Math.log(u)) * Math.cos(2 * Math.PI * v);
  }

  /** One element of a non-empty list. */
  pick<T>(items: readonly T[]): T {
    return items[this.integer(items.length)]!;
  }

  /** A shuffled copy (Fisher-Yates). */
  shuffled<T>(items: readonly T[]): T[] {
    const copy = [...items];
    for (let i = copy.length - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      [copy[i], copy[j]] = [copy[j]!, copy[i]!];
    }
    return copy;
  }
}

/** FNV-1a over UTF-16 code units, finished with murmur3's mixer: spreads names over 32-bit keys. */
export function hash32(text: string, start = 0x811c9dc5): number {
  let h = start >>> 0;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b) >>> 0;
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35) >>> 0;
  return (h ^ (h >>> 16)) >>> 0;
}
