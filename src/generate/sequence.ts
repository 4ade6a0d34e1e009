/** Owns one completion on its way: its tokens, its random stream, and when it ends. Knows no model and no cache. */

import type { Tokenizer } from '../text/index.ts';
import { Rng } from '../util/rng.ts';
import type { Completion, StopReason } from './completion.ts';
import type { GenerationOptions, GenerationRequest } from './engine.ts';
import { type SampledStatistics, type SampledTokens, uniformOf } from './sampler.ts';

/** One sample of one request, while it waits, runs, and after it has ended. */
export class Sequence {
  readonly request: GenerationRequest;
  readonly requestIndex: number;
  readonly sampleIndex: number;
  /** Whether it is known from before and only takes its place. */
  readonly known: boolean;
  private readonly knownLength: number;
  private skipped = 0;
  /** Tokens since it last got a slot; fewer than it has while it is computed again. */
  private taken = 0;
  private readonly rng: Rng;
  private readonly completion: number[] = [];
  private readonly logps: number[] = [];
  private readonly samplingLogps: number[] = [];
  private readonly plainLogps: number[] = [];
  private readonly entropies: number[] = [];
  private readonly alternatives: { readonly id: number; readonly logp: number }[][] = [];
  /** Kept from the first time it is asked for. */
  private seen: Set<number> | null = null;
  private stopReason: StopReason = 'aborted';

  constructor(
    request: GenerationRequest,
    requestIndex: number,
    sampleIndex: number,
    options: GenerationOptions,
  ) {
    this.request = request;
    this.requestIndex = requestIndex;
    this.sampleIndex = sampleIndex;
    this.known = request.knownLengths !== undefined;
    this.knownLength = request.knownLengths?.[sampleIndex] ?? 0;
    this.rng = new Rng({
      seed: options.seed,
      purpose: 'sample',
      step: options.step,
      id: request.problemId,
      index: sampleIndex,
    });
  }

  /** The token whose keys the cache has not yet: the last one, or an earlier one of a sequence that is computed again. */
  get nextId(): number {
    return this.completion[this.taken - 1]!;
  }

  /** Position of that token: where its keys go in the cache. */
  get position(): number {
    return this.request.promptIds.length + this.taken - 1;
  }

  /** Tokens so far. */
  get length(): number {
    return this.completion.length;
  }

  /** Every distinct id of prompt and completion. */
  get seenIds(): ReadonlySet<number> {
    this.seen ??= new Set([...this.request.promptIds, ...this.completion]);
    return this.seen;
  }

  /** The uniform number of the next token, the same whenever it is asked. */
  nextUniform(): number {
    return uniformOf(this.rng.wordAt(this.completion.length));
  }

  /** Lets the time of one token go by for a known sequence; true when it is finished. */
  skip(): boolean {
    return ++this.skipped >= this.knownLength;
  }

  /** Has lost its slot: its tokens stay, and are taken again one by one before the next is sampled. */
  preempt(): void {
    this.taken = 0;
  }

  /** Takes a sampled token, or where it has been here before the one that it has; true when the sequence is finished. */
  take(sampled: SampledTokens, row: number, tokenizer: Tokenizer, options: GenerationOptions): boolean {
    const isNew = this.taken++ === this.completion.length;
    return isNew && this.push(sampled, row, tokenizer, options);
  }

  private push(
    sampled: SampledTokens,
    row: number,
    tokenizer: Tokenizer,
    options: GenerationOptions,
  ): boolean {
    const id = sampled.ids[row]!;
    this.completion.push(id);
    this.seen?.add(id);
    if (sampled.statistics) this.record(sampled.statistics, row);
    this.logps.push(sampled.logps[row]!);
    this.samplingLogps.push(sampled.samplingLogps[row]!);
    options.onToken?.(this.request.problemId, this.sampleIndex, id);
    const reason = this.ending(id, tokenizer, options);
    if (reason) this.stopReason = reason;
    return reason !== null;
  }

  private record({ plainLogps, entropies, likeliest, likeliestLogps }: SampledStatistics, row: number): void {
    this.plainLogps.push(plainLogps[row]!);
    this.entropies.push(entropies[row]!);
    const count = likeliest.length / plainLogps.length;
    const own = likeliest.subarray(row * count, (row + 1) * count);
    this.alternatives.push(Array.from(own, (id, i) => ({ id, logp: likeliestLogps[row * count + i]! })));
  }

  private ending(id: number, tokenizer: Tokenizer, options: GenerationOptions): StopReason | null {
    if (options.stopIds.includes(id)) return 'eos';
    if (this.completesStop(tokenizer, options)) return 'stop';
    const most = Math.min(options.maxNewTokens, this.request.maxNewTokens ?? options.maxNewTokens);
    return this.completion.length >= most ? 'length' : null;
  }

  /** Whether the last token completes a stop string, and the completion is long enough to end by one. */
  private completesStop(
    tokenizer: Tokenizer,
    { stopStrings = [], minNewTokens = 0 }: GenerationOptions,
  ): boolean {
    if (stopStrings.length === 0 || this.completion.length <= minNewTokens) return false;
    // A token has at least one byte, so a string just completed lies in this tail.
    const tail = this.completion.slice(-Math.max(...stopStrings.map((stop) => Buffer.byteLength(stop))) - 4);
    const text = tokenizer.decode(tail);
    if (minNewTokens === 0) return stopStrings.some((stop) => text.includes(stop));
    // One that was complete while the completion was too short has passed.
    const before = tokenizer.decode(tail.slice(0, -1)).replace(/\uFFFD+$/, '').length;
    return stopStrings.some((stop) => text.includes(stop, Math.max(0, before - stop.length + 1)));
  }

  /** What the engine gives back of it. */
  completed(tokenizer: Tokenizer, policyStep: number): Completion {
    const { plainLogps, entropies, alternatives } = this;
    return {
      problemId: this.request.problemId,
      sampleIndex: this.sampleIndex,
      promptIds: this.request.promptIds,
      completionIds: this.completion,
      logps: this.logps,
      samplingLogps: this.samplingLogps,
      stopReason: this.stopReason,
      text: tokenizer.decode(this.completion),
      policyStep,
      ...(this.entropies.length > 0 ? { statistics: { plainLogps, entropies, alternatives } } : {}),
    };
  }
}
