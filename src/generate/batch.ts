/**
 * Owns which sequences run and where in the cache: finished ones leave between steps, waiting ones enter, the samples of
 * one request share its prompt's prefill and cache, and fewer run where memory does not suffice. Knows no reward and no task.
 */

import { type Decoder, type StepPlace, stepContext } from '../models/index.ts';
import type { Tokenizer } from '../text/index.ts';
import {
  freeCachedMemory,
  ids,
  kernelsServe,
  lacksMemory,
  noGrad,
  scope,
  stack,
  type Tensor,
} from '../torch/index.ts';
import { messageOf } from '../util/errors.ts';
import type { CacheDemand } from './cache-plan.ts';
import type { GenerationOptions, GenerationRequest } from './engine.ts';
import type { EarlyEndings } from './filters.ts';
import { Room } from './room.ts';
import { type SampledTokens, sampleTokens } from './sampler.ts';
import { Sequence } from './sequence.ts';

interface Running {
  readonly sequence: Sequence;
  readonly slot: number;
}

/** Padded tokens of one prefill at most, for its memory. */
const prefillTokens = 16_384;
/** A prefill of so few tokens is not cut further for its memory. */
const leastPrefill = 128;

/** The sequences of one call of `generate`. */
export class Batch implements Disposable {
  /** By request and sample; complete when the batch is no longer busy. */
  readonly finished: Sequence[][];
  private readonly model: Decoder;
  private readonly tokenizer: Tokenizer;
  private readonly options: GenerationOptions;
  private readonly demand: CacheDemand;
  private room: Room;
  private readonly waiting: Sequence[];
  /** They have a slot, and wait for their prompt. */
  private entering: Running[] = [];
  private running: Running[] = [];
  /** Samples of each request that have not ended. */
  private readonly left: number[];
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
    this.left = requests.map(({ samples }) => samples);
    this.waiting = requests.flatMap((request, i) =>
      Array.from({ length: request.samples }, (_, sample) => new Sequence(request, i, sample, options)),
    );
    const longestPrompt = Math.max(0, ...requests.map((request) => request.promptIds.length));
    model.rope.reserve(longestPrompt + options.maxNewTokens);
    this.demand = {
      sequences: this.waiting.length,
      requests: requests.length,
      longestPrompt,
      maxNewTokens: options.maxNewTokens,
      maxRows: options.maxRows,
      maxBytes: options.cacheBytes,
      spare: kernelsServe({ dtype: model.computeDtype, device: model.device }) ? 0 : 1,
    };
    const { prefillChunk } = options;
    const limits = { tokens: prefillChunk ?? prefillTokens, piecewise: prefillChunk !== undefined };
    this.room = new Room(model, this.demand, limits, this.say);
  }

  get busy(): boolean {
    return this.running.length + this.entering.length + this.waiting.length > 0;
  }

  /**
   * Admits what fits, or decodes one token of every running sequence; both where prompts are prefilled in chunks. Where
   * there is no memory for that, fewer sequences run from then on. Gives the requests, known ones apart, that ended by it.
   */
  advance(): number[] {
    this.ended = [];
    try {
      this.admitOrDecode();
    } catch (error) {
      this.retreat(error);
    }
    return this.ended;
  }

  private admitOrDecode(): void {
    const { slots, freeSlots: free, prompts } = this.room;
    // Prefill in lots: a lone newcomer would cost a whole pass over the weights.
    const worthwhile = this.running.length === 0 || free >= Math.max(1, slots >> 3);
    if (this.entering.length === 0 && this.waiting.length > 0 && worthwhile)
      this.enter(this.waiting.splice(0, free));
    const entered = this.entering.length > 0;
    if (entered) {
      prompts.advance();
      this.start();
    }
    if (this.running.length > 0 && (!entered || prompts.limits.piecewise)) this.decode();
  }

  /**
   * What is done where there is no memory: half of those that run get slots in a new cache, or where a prefill was too
   * large, half as many tokens go into one. Sequences keep their tokens and are computed again from them, in the same
   * steps that the others go on in, so they come out as they would in any other batch. Throws what it cannot help.
   */
  private retreat(error: unknown): void {
    const { slots, prompts } = this.room;
    const smaller = prompts.underWay > leastPrefill;
    if (!lacksMemory(error) || (slots === 1 && !smaller)) throw error;
    const preempted = [...this.running, ...this.entering].map(({ sequence }) => sequence);
    for (const sequence of preempted) sequence.preempt();
    // As they stood in line: no request begins before the samples of those that have begun.
    preempted.sort((a, b) => a.requestIndex - b.requestIndex || a.sampleIndex - b.sampleIndex);
    this.waiting.unshift(...preempted);
    this.running = [];
    this.entering = [];
    this.room[Symbol.dispose]();
    freeCachedMemory(this.model.device);
    const maxRows = smaller ? slots : Math.ceil(preempted.length / 2);
    const limits = smaller ? { tokens: prompts.underWay >> 1, piecewise: true } : prompts.limits;
    this.room = new Room(this.model, { ...this.demand, maxRows }, limits, this.say);
    const reason = messageOf((error as Error).cause ?? error).split('\n')[0]!;
    this.say(
      `sampling ran out of memory (${reason}): from here on ${this.room.slots} sequences at once, ${limits.tokens} tokens of prompts`,
    );
  }

  private readonly say = (line: string): void => {
    const { log = process.emitWarning } = this.options;
    log(line);
  };

  /** Ends everything as it stands. */
  abort(): void {
    for (const { sequence, slot } of [...this.running, ...this.entering]) this.finish(sequence, slot);
    for (const sequence of this.waiting.splice(0)) this.finish(sequence, null);
    this.running = [];
    this.entering = [];
  }

  /** Gives newcomers their slots, and plans the prefill of those prompts that the cache has not. */
  private enter(newcomers: readonly Sequence[]): void {
    const fresh = newcomers.filter(({ requestIndex }) => !this.room.prompts.get(requestIndex));
    this.room.prompts.add(new Map(fresh.map((sequence) => [sequence.requestIndex, sequence.request])));
    this.entering = newcomers.map((sequence) => ({ sequence, slot: this.room.takeSlot() }));
  }

  /** Samples the first token of those whose prompt is in the cache. */
  private start(): void {
    const isReady = ({ sequence }: Running) => this.room.prompts.get(sequence.requestIndex) !== undefined;
    const ready = this.entering.filter(isReady);
    if (ready.length === 0) return;
    const rest = this.entering.filter((one) => !isReady(one));
    const started = this.take(ready, (unknown) => this.sampleFirst(unknown));
    this.entering = rest;
    this.running.push(...started);
  }

  /** The first token of sequences whose prompts are in the cache. */
  private sampleFirst(entered: readonly Running[]): SampledTokens {
    const newcomers = entered.map(({ sequence }) => sequence);
    const indices = [...new Set(newcomers.map((sequence) => sequence.requestIndex))];
    const hidden_PD = stack(indices.map((index) => this.room.prompts.get(index)!.hidden_D!));
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
    const { model, room } = this;
    const fillers = room.spare === null ? 0 : roundedRows(running.length) - running.length;
    const places: StepPlace[] = running.map(({ sequence, slot }) => ({
      slot,
      position: sequence.position,
      prefix: this.room.prompts.get(sequence.requestIndex)!.place,
      prefixLength: sequence.request.promptIds.length,
    }));
    for (let i = 0; i < fillers; i++)
      places.push({ slot: room.spare!, position: 0, prefix: 0, prefixLength: 0 });
    const nextIds = running.map(({ sequence }) => sequence.nextId);
    const tokens = ids([...nextIds, ...new Array<number>(fillers).fill(0)], undefined, model.device);
    const hidden_ND = model.step(tokens, stepContext(room.cache, model.rope, places));
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
          : sequence.take(sampled, row++, this.tokenizer, this.options);
      if (ended) this.finish(sequence, slot);
      return !ended;
    });
  }

  private finish(sequence: Sequence, slot: number | null): void {
    this.finished[sequence.requestIndex]![sequence.sampleIndex] = sequence;
    if (slot !== null) this.room.giveSlot(slot);
    if (--this.left[sequence.requestIndex]! > 0) return;
    this.room.prompts.release(sequence.requestIndex);
    if (!sequence.known) this.ended.push(sequence.requestIndex);
  }

  [Symbol.dispose](): void {
    this.room[Symbol.dispose]();
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
