/**
 * Owns which sequences run and where in the cache: finished ones leave between steps, waiting ones enter, and the
 * samples of one request share its prompt's prefill and cache. Knows no reward and no task.
 */

import { type Decoder, type KvCache, type StepPlace, stepContext } from '../models/index.ts';
import type { Tokenizer } from '../text/index.ts';
import {
  ids,
  invoke,
  kernelsServe,
  noGrad,
  Op,
  scope,
  stack,
  type Tensor,
  tensor,
  zeros,
} from '../torch/index.ts';
import { allocateCache } from './cache-plan.ts';
import type { GenerationOptions, GenerationRequest } from './engine.ts';
import { type SampledTokens, sampleTokens } from './sampler.ts';
import { Sequence } from './sequence.ts';

const indexFillOp = new Op('aten::index_fill', 'int_Scalar');
/** Padded tokens of one prefill at most, for its memory; a longer prompt goes alone. */
const prefillTokens = 16_384;

/** A prompt in the cache, for as long as a sample of it runs or waits. */
interface Resident {
  readonly place: number;
  /** What its last token's hidden state [D] is: every sample starts from it. Null for a known request. */
  readonly hidden_D: Tensor | null;
  /** Samples that have not ended. */
  users: number;
}

interface Running {
  readonly sequence: Sequence;
  readonly slot: number;
}

/** The sequences of one call of `generate`. */
export class Batch implements Disposable {
  /** By request and sample; complete when the batch is no longer busy. */
  readonly finished: Sequence[][];
  private readonly model: Decoder;
  private readonly tokenizer: Tokenizer;
  private readonly options: GenerationOptions;
  private readonly cache: KvCache;
  private readonly residents = new Map<number, Resident>();
  private readonly freeSlots: number[];
  private readonly freePrefixes: number[];
  /** A slot that no sequence has, where rows go that only fill up a shape; null where none are needed. */
  private readonly spare: number | null;
  private waiting: Sequence[];
  private running: Running[] = [];
  /** Requests of which the last sample has ended since `advance` was last asked. */
  private ended: number[] = [];

  constructor(
    model: Decoder,
    tokenizer: Tokenizer,
    requests: readonly GenerationRequest[],
    options: GenerationOptions,
  ) {
    this.model = model;
    this.tokenizer = tokenizer;
    this.options = options;
    this.finished = requests.map(() => []);
    this.waiting = requests.flatMap((request, i) =>
      Array.from({ length: request.samples }, (_, sample) => new Sequence(request, i, sample, options)),
    );
    const longestPrompt = Math.max(0, ...requests.map((request) => request.promptIds.length));
    model.rope.reserve(longestPrompt + options.maxNewTokens);
    const spare = kernelsServe({ dtype: model.computeDtype, device: model.device }) ? 0 : 1;
    this.cache = allocateCache(model, {
      sequences: this.waiting.length,
      requests: requests.length,
      longestPrompt,
      maxNewTokens: options.maxNewTokens,
      maxRows: options.maxRows,
      maxBytes: options.cacheBytes,
      spare,
    });
    const { slots, prefixes } = this.cache.shape;
    this.spare = spare > 0 ? slots - 1 : null;
    this.freeSlots = descending(slots - spare);
    this.freePrefixes = descending(prefixes);
  }

  get busy(): boolean {
    return this.running.length + this.waiting.length > 0;
  }

  /** Admits what fits, or decodes one token of every running sequence. Gives the requests, known ones apart, that ended by it. */
  advance(): number[] {
    this.ended = [];
    const free = this.freeSlots.length;
    // Prefill in lots: a lone newcomer would cost a whole pass over the weights.
    const worthwhile = this.running.length === 0 || free >= Math.max(1, this.cache.shape.slots >> 3);
    if (this.waiting.length > 0 && worthwhile) this.admit(this.waiting.splice(0, free));
    else this.decode();
    return this.ended;
  }

  /** Ends everything as it stands. */
  abort(): void {
    for (const { sequence, slot } of this.running) this.finish(sequence, slot);
    for (const sequence of this.waiting.splice(0)) this.finish(sequence, null);
    this.running = [];
  }

  private admit(newcomers: readonly Sequence[]): void {
    const fresh = new Map(
      newcomers
        .filter((sequence) => !this.residents.has(sequence.requestIndex))
        .map((sequence) => [sequence.requestIndex, sequence.request]),
    );
    // Prompts of like length go together, so that little of a prefill is padding.
    const sorted = [...fresh].sort(([i, a], [j, b]) => a.promptIds.length - b.promptIds.length || i - j);
    for (const lot of lotsOf(sorted)) {
      if (lot.some(([, request]) => request.knownLengths === undefined))
        noGrad(() => scope(() => this.prefill(lot)));
      else for (const [index, request] of lot) this.reside(index, request, this.freePrefixes.pop()!, null);
    }
    const entered = newcomers.map((sequence) => ({ sequence, slot: this.freeSlots.pop()! }));
    this.running.push(...this.take(entered, (unknown) => this.sampleFirst(unknown)));
  }

  /** Puts prompts into the cache; each request comes with its index. */
  private prefill(lot: readonly (readonly [number, GenerationRequest])[]): void {
    const { model, cache } = this;
    const { device, config } = model;
    const longest = Math.max(...lot.map(([, { promptIds }]) => promptIds.length));
    const flat = new Int32Array(lot.length * longest).fill(config.padTokenId ?? 0);
    lot.forEach(([, { promptIds }], i) => {
      flat.set(promptIds, i * longest);
    });
    const places = lot.map(() => this.freePrefixes.pop()!);
    const targets = ids(places, undefined, device);
    const hidden_PTD = model.forward(ids(flat, [lot.length, longest], device), (layer, keys, values) =>
      cache.fill(layer, targets, keys, values),
    );
    lot.forEach(([index, request], i) => {
      const last = request.promptIds.length - 1;
      const known = request.knownLengths !== undefined;
      const hidden_D = known ? null : hidden_PTD.select(0, i).select(0, last).clone().keep();
      this.reside(index, request, places[i]!, hidden_D);
    });
  }

  private reside(
    index: number,
    { samples }: GenerationRequest,
    place: number,
    hidden_D: Tensor | null,
  ): void {
    this.residents.set(index, { place, hidden_D, users: samples });
  }

  /** The first token of sequences whose prompts are in the cache. */
  private sampleFirst(entered: readonly Running[]): SampledTokens {
    const newcomers = entered.map(({ sequence }) => sequence);
    const indices = [...new Set(newcomers.map((sequence) => sequence.requestIndex))];
    const hidden_PD = stack(indices.map((index) => this.residents.get(index)!.hidden_D!));
    const rows = new Map(indices.map((index, i) => [index, i]));
    const sources = newcomers.map((sequence) => rows.get(sequence.requestIndex)!);
    const logits_PV = this.model.stepLogits(hidden_PD, this.options.vocabulary);
    const alone = indices.length === newcomers.length;
    const logits_NV = alone
      ? logits_PV
      : logits_PV.indexSelect(0, ids(sources, undefined, this.model.device));
    return this.sample(logits_NV, newcomers);
  }

  private decode(): void {
    this.running = this.take(this.running, (unknown) => this.step(unknown));
  }

  private step(running: readonly Running[]): SampledTokens {
    const { model, cache } = this;
    const fillers = this.spare === null ? 0 : roundedRows(running.length) - running.length;
    const places: StepPlace[] = running.map(({ sequence, slot }) => ({
      slot,
      position: sequence.position,
      prefix: this.residents.get(sequence.requestIndex)!.place,
      prefixLength: sequence.request.promptIds.length,
    }));
    for (let i = 0; i < fillers; i++)
      places.push({ slot: this.spare!, position: 0, prefix: 0, prefixLength: 0 });
    const lastIds = running.map(({ sequence }) => sequence.lastId);
    const tokens = ids([...lastIds, ...new Array<number>(fillers).fill(0)], undefined, model.device);
    const hidden_ND = model.step(tokens, stepContext(cache, model.rope, places));
    const logits_NV = model.stepLogits(hidden_ND, this.options.vocabulary);
    return this.sample(
      fillers > 0 ? logits_NV.narrow(0, 0, running.length) : logits_NV,
      running.map(({ sequence }) => sequence),
    );
  }

  private sample(logits_NV: Tensor, sequences: readonly Sequence[]): SampledTokens {
    const uniforms = Float32Array.from(sequences, (sequence) => sequence.nextUniform());
    const penalised = (this.options.repetitionPenalty ?? 1) !== 1;
    return sampleTokens(
      this.withoutEnding(logits_NV, sequences),
      uniforms,
      this.options,
      penalised ? this.seenBy(sequences) : null,
    );
  }

  /** Logits without the ids that would end a completion before `minNewTokens`. */
  private withoutEnding(rows: Tensor, sequences: readonly Sequence[]): Tensor {
    const { minNewTokens = 0, stopIds } = this.options;
    const short = sequences.map((sequence) => Number(sequence.length < minNewTokens));
    if (stopIds.length === 0 || !short.includes(1)) return rows;
    const { device } = rows;
    const banned = zeros(rows.shape, 'bool', device);
    const columns = ids([...stopIds], undefined, device);
    const early = tensor(short, { dtype: 'bool', shape: [short.length, 1], device });
    return rows.maskedFill(
      invoke(indexFillOp, banned.handle, 1, columns.handle, 1).logicalAnd(early),
      Number.NEGATIVE_INFINITY,
    );
  }

  /** The ids of prompt and completion of each sequence, padded with its first one. */
  private seenBy(sequences: readonly Sequence[]): Tensor {
    const all = sequences.map((sequence) => sequence.seenIds);
    const width = Math.max(...all.map((row) => row.length));
    const flat = all.flatMap((row) => [...row, ...new Array<number>(width - row.length).fill(row[0]!)]);
    return ids(flat, [sequences.length, width], this.model.device);
  }

  /** Gives each the token that `sample` draws for those that are not known, and returns those that go on. */
  private take(rows: readonly Running[], sample: (unknown: readonly Running[]) => SampledTokens): Running[] {
    const unknown = rows.filter(({ sequence }) => !sequence.known);
    const sampled = unknown.length === 0 ? null : noGrad(() => scope(() => sample(unknown)));
    let row = 0;
    return rows.filter(({ sequence, slot }) => {
      const ended =
        sampled === null || sequence.known
          ? sequence.skip()
          : sequence.push(sampled, row++, this.tokenizer, this.options);
      if (ended) this.finish(sequence, slot);
      return !ended;
    });
  }

  private finish(sequence: Sequence, slot: number | null): void {
    this.finished[sequence.requestIndex]![sequence.sampleIndex] = sequence;
    if (slot !== null) this.freeSlots.push(slot);
    const resident = this.residents.get(sequence.requestIndex);
    if (!resident || --resident.users > 0) return;
    this.freePrefixes.push(resident.place);
    resident.hidden_D?.dispose();
    this.residents.delete(sequence.requestIndex);
    if (!sequence.known) this.ended.push(sequence.requestIndex);
  }

  [Symbol.dispose](): void {
    for (const resident of this.residents.values()) resident.hidden_D?.dispose();
    this.cache[Symbol.dispose]();
  }
}

/** n - 1 to 0, so that `pop` gives the lowest first. */
function descending(n: number): number[] {
  return Array.from({ length: n }, (_, i) => n - 1 - i);
}

/** Cuts requests, shortest first, where a prefill of them would grow too large. */
function* lotsOf<T extends readonly [number, GenerationRequest]>(sorted: readonly T[]): Generator<T[]> {
  let lot: T[] = [];
  for (const entry of sorted) {
    if (lot.length > 0 && (lot.length + 1) * entry[1].promptIds.length > prefillTokens) {
      yield lot;
      lot = [];
    }
    lot.push(entry);
  }
  if (lot.length > 0) yield lot;
}

/**
 * The library compiles its bf16 products for every new shape (1 to 10 ms each, measured) and keeps about a thousand,
 * so row counts are rounded up to four an octave. Up to seven rows nothing is added.
 */
function roundedRows(count: number): number {
  const step = 2 ** Math.max(0, Math.floor(Math.log2(count)) - 2);
  return step * Math.ceil(count / step);
}
