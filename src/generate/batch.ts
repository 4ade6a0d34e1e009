/**
 * Owns which sequences run and where in the cache: finished ones leave between steps, waiting ones enter, and the
 * samples of one request share its prompt's prefill and cache. Knows no reward and no task.
 */

import { type Decoder, type KvCache, type StepPlace, stepContext } from '../models/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { ids, kernelsServe, noGrad, scope, stack, type Tensor } from '../torch/index.ts';
import { allocateCache } from './cache-plan.ts';
import type { GenerationOptions, GenerationRequest } from './engine.ts';
import type { EarlyEndings } from './filters.ts';
import { descending, Prompts } from './prompts.ts';
import { type SampledTokens, sampleTokens } from './sampler.ts';
import { Sequence } from './sequence.ts';

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
  private readonly prompts: Prompts;
  private readonly freeSlots: number[];
  /** A slot that no sequence has, where rows go that only fill up a shape; null where none are needed. */
  private readonly spare: number | null;
  private readonly waiting: Sequence[];
  /** They have a slot, and wait for their prompt. */
  private entering: Running[] = [];
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
    this.prompts = new Prompts(model, this.cache, options.prefillChunk);
    const { slots } = this.cache.shape;
    this.spare = spare > 0 ? slots - 1 : null;
    this.freeSlots = descending(slots - spare);
  }

  get busy(): boolean {
    return this.running.length + this.entering.length + this.waiting.length > 0;
  }

  /**
   * Admits what fits, or decodes one token of every running sequence; both where prompts are prefilled in chunks. Gives the
   * requests, known ones apart, that ended by it.
   */
  advance(): number[] {
    this.ended = [];
    const free = this.freeSlots.length;
    // Prefill in lots: a lone newcomer would cost a whole pass over the weights.
    const worthwhile = this.running.length === 0 || free >= Math.max(1, this.cache.shape.slots >> 3);
    if (this.entering.length === 0 && this.waiting.length > 0 && worthwhile)
      this.enter(this.waiting.splice(0, free));
    const entered = this.entering.length > 0;
    if (entered) {
      this.prompts.advance();
      this.start();
    }
    if (this.running.length > 0 && (!entered || this.prompts.piecewise)) this.decode();
    return this.ended;
  }

  /** Ends everything as it stands. */
  abort(): void {
    for (const { sequence, slot } of [...this.running, ...this.entering]) this.finish(sequence, slot);
    for (const sequence of this.waiting.splice(0)) this.finish(sequence, null);
    this.running = [];
    this.entering = [];
  }

  /** Gives newcomers their slots, and plans the prefill of those prompts that the cache has not. */
  private enter(newcomers: readonly Sequence[]): void {
    const fresh = newcomers.filter(({ requestIndex }) => !this.prompts.get(requestIndex));
    this.prompts.add(new Map(fresh.map((sequence) => [sequence.requestIndex, sequence.request])));
    this.entering = newcomers.map((sequence) => ({ sequence, slot: this.freeSlots.pop()! }));
  }

  /** Samples the first token of those whose prompt is in the cache. */
  private start(): void {
    const isReady = ({ sequence }: Running) => this.prompts.get(sequence.requestIndex) !== undefined;
    const ready = this.entering.filter(isReady);
    if (ready.length === 0) return;
    this.entering = this.entering.filter((one) => !isReady(one));
    this.running.push(...this.take(ready, (unknown) => this.sampleFirst(unknown)));
  }

  /** The first token of sequences whose prompts are in the cache. */
  private sampleFirst(entered: readonly Running[]): SampledTokens {
    const newcomers = entered.map(({ sequence }) => sequence);
    const indices = [...new Set(newcomers.map((sequence) => sequence.requestIndex))];
    const hidden_PD = stack(indices.map((index) => this.prompts.get(index)!.hidden_D!));
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
      prefix: this.prompts.get(sequence.requestIndex)!.place,
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
    const { options } = this;
    const uniforms = Float32Array.from(sequences, (sequence) => sequence.nextUniform());
    const penalised = (options.repetitionPenalty ?? 1) !== 1;
    return sampleTokens(logits_NV, uniforms, options, {
      seen_NS: penalised ? this.seenBy(sequences) : null,
      early: this.earlyOf(sequences),
      alternatives: options.statistics?.alternatives,
    });
  }

  /** The ids that would end a completion before `minNewTokens`, and which ones it would end. */
  private earlyOf(sequences: readonly Sequence[]): EarlyEndings | null {
    const { minNewTokens = 0, stopIds } = this.options;
    const rows = sequences.map((sequence) => sequence.length < minNewTokens);
    return stopIds.length > 0 && rows.includes(true) ? { rows, ids: stopIds } : null;
  }

  /** The ids of prompt and completion of each sequence, padded with its first one. */
  private seenBy(sequences: readonly Sequence[]): Tensor {
    const all = sequences.map((sequence) => [...sequence.seenIds]);
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
    const ended = this.prompts.release(sequence.requestIndex);
    if (ended && !sequence.known) this.ended.push(sequence.requestIndex);
  }

  [Symbol.dispose](): void {
    this.prompts[Symbol.dispose]();
    this.cache[Symbol.dispose]();
  }
}

/**
 * The library compiles its bf16 products for every new shape (1 to 10 ms each, measured) and keeps about a thousand,
 * so row counts are rounded up to four an octave. Up to seven rows nothing is added.
 */
function roundedRows(count: number): number {
  const step = 2 ** Math.max(0, Math.floor(Math.log2(count)) - 2);
  return step * Math.ceil(count / step);
}
