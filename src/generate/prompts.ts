/**
 * Owns the prompts in the cache: each is prefilled once for all its samples, together with others of like length or, where
 * a chunk is given, piece by piece between decoding steps. Knows no sequence.
 */

import { type Decoder, type KvCache, padIdOf } from '../models/index.ts';
import { ids, noGrad, scope, type Tensor } from '../torch/index.ts';
import type { GenerationRequest } from './engine.ts';

/** A prompt in the cache, for as long as a sample of it runs or waits. */
export interface Resident {
  readonly place: number;
  /** What its last token's hidden state [D] is: every sample starts from it. Null for a known request. */
  readonly hidden_D: Tensor | null;
}

/** How much of prompts one pass of the model takes. */
export interface PrefillLimits {
  /** Padded tokens at most. */
  readonly tokens: number;
  /** Whether a longer prompt is cut, and decoding goes on between passes; else it goes alone, and all at once. */
  readonly piecewise: boolean;
}

/** A request with its index. */
type Entry = readonly [number, GenerationRequest];

/** Tokens `from` to `to` of one prompt, which begins at another piece. */
interface Chunk {
  readonly entry: Entry;
  readonly place: number;
  readonly from: number;
  readonly to: number;
}

/** What one pass of the model prefills: some prompts whole, or a part of a long one. */
type Piece = { readonly lot: readonly Entry[] } | { readonly chunk: Chunk };

export class Prompts implements Disposable {
  private readonly model: Decoder;
  private readonly cache: KvCache;
  readonly limits: PrefillLimits;
  private readonly residents = new Map<number, Resident>();
  private readonly freePlaces: number[];
  private pieces: Piece[] = [];
  /** Padded tokens of the pass that is being computed; 0 between passes, so it tells after an error what it was. */
  underWay = 0;

  constructor(model: Decoder, cache: KvCache, limits: PrefillLimits) {
    this.model = model;
    this.cache = cache;
    this.limits = limits;
    this.freePlaces = descending(cache.shape.prefixes);
  }

  /** The prompt of the request of that index, once it is whole in the cache. */
  get(index: number): Resident | undefined {
    return this.residents.get(index);
  }

  /** Plans the prefill of requests that are not in the cache yet. */
  add(requests: ReadonlyMap<number, GenerationRequest>): void {
    // Prompts of like length go together, so that little of a prefill is padding.
    const sorted = [...requests].sort(([i, a], [j, b]) => a.promptIds.length - b.promptIds.length || i - j);
    const { tokens: most, piecewise } = this.limits;
    const isLong = ([, { promptIds }]: Entry) => piecewise && promptIds.length > most;
    const short = sorted.filter((entry) => !isLong(entry));
    this.pieces.push(...lotsOf(short, most).map((lot) => ({ lot })));
    for (const entry of sorted.filter(isLong)) {
      const place = this.freePlaces.pop()!;
      const length = entry[1].promptIds.length;
      for (let from = 0; from < length; from += most)
        this.pieces.push({ chunk: { entry, place, from, to: Math.min(length, from + most) } });
    }
  }

  /** Prefills the next piece, or everything where decoding does not go on between pieces. */
  advance(): void {
    for (const piece of this.pieces.splice(0, this.limits.piecewise ? 1 : this.pieces.length)) {
      this.underWay = tokensOf(piece);
      noGrad(() => scope(() => ('lot' in piece ? this.prefill(piece.lot) : this.extend(piece.chunk))));
      this.underWay = 0;
    }
  }

  /** Lets the prompt of a request go, where it is in the cache. */
  release(index: number): void {
    const resident = this.residents.get(index);
    if (!resident) return;
    this.freePlaces.push(resident.place);
    resident.hidden_D?.dispose();
    this.residents.delete(index);
  }

  private prefill(lot: readonly Entry[]): void {
    const places = lot.map(() => this.freePlaces.pop()!);
    const hidden_PD = lot.every(isKnown) ? null : this.forward(lot, places);
    lot.forEach((entry, i) => {
      this.settle(entry, places[i]!, hidden_PD?.select(0, i) ?? null);
    });
  }

  /** Hidden states [P, D] of the prompts' last tokens; their keys and values go to the cache. */
  private forward(lot: readonly Entry[], places: readonly number[]): Tensor {
    const { model, cache } = this;
    const { device } = model;
    const longest = Math.max(...lot.map(([, { promptIds }]) => promptIds.length));
    const flat = new Int32Array(lot.length * longest).fill(padIdOf(model));
    lot.forEach(([, { promptIds }], i) => {
      flat.set(promptIds, i * longest);
    });
    const ends = lot.map(([, { promptIds }], i) => i * longest + promptIds.length - 1);
    const targets = ids([...places], undefined, device);
    const tokens = ids(flat, [lot.length, longest], device);
    return model.prefill(tokens, ids(ends, undefined, device), (layer, keys, values) =>
      cache.fill(layer, targets, keys, values),
    );
  }

  private extend({ entry, place, from, to }: Chunk): void {
    const { model, cache } = this;
    const { promptIds } = entry[1];
    const hidden_1TD = isKnown(entry)
      ? null
      : model.extend(
          ids(promptIds.slice(from, to), [1, to - from], model.device),
          from,
          (layer, keys, values) => cache.extend(layer, place, from, keys, values),
        );
    if (to < promptIds.length) return;
    this.settle(entry, place, hidden_1TD?.select(0, 0).select(0, to - from - 1) ?? null);
  }

  /** `last_D` is the hidden state of the prompt's last token; null where nothing was computed. */
  private settle(entry: Entry, place: number, last_D: Tensor | null): void {
    const hidden_D = isKnown(entry) ? null : (last_D?.clone().keep() ?? null);
    this.residents.set(entry[0], { place, hidden_D });
  }

  [Symbol.dispose](): void {
    for (const resident of this.residents.values()) resident.hidden_D?.dispose();
  }
}

/** Whether nothing of it is computed for itself. */
const isKnown = ([, { knownLengths }]: Entry): boolean => knownLengths !== undefined;

/** n - 1 to 0, so that `pop` gives the lowest first. */
export function descending(n: number): number[] {
  return Array.from({ length: n }, (_, i) => n - 1 - i);
}

function tokensOf(piece: Piece): number {
  if ('chunk' in piece) return piece.chunk.to - piece.chunk.from;
  return piece.lot.length * piece.lot.at(-1)![1].promptIds.length;
}

/** Cuts requests, shortest first, where a prefill of them would have more than `most` tokens. */
function lotsOf(sorted: readonly Entry[], most: number): Entry[][] {
  const lots: Entry[][] = [];
  let lot: Entry[] = [];
  for (const entry of sorted) {
    if (lot.length > 0 && (lot.length + 1) * entry[1].promptIds.length > most) {
      lots.push(lot);
      lot = [];
    }
    lot.push(entry);
  }
  return lot.length > 0 ? [...lots, lot] : lots;
}
