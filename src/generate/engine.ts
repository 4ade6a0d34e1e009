/**
 * Owns batched generation: which sequences run, their cache rows, when they stop. Finished sequences leave between
 * steps and waiting ones enter; the samples of one request share its prompt's prefill. Knows no reward and no task.
 */

import { cacheMask, type Decoder, KvCache } from '../models/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { arange, ids, invoke, noGrad, Op, scope, type Tensor, tensor, zeros } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Rng } from '../util/rng.ts';
import type { Completion, StopReason } from './completion.ts';
import { checkSampling, type SamplingParameters } from './filters.ts';
import { type SampledTokens, sampleTokens, uniformOf } from './sampler.ts';

/** One prompt and how many completions it gets. */
export interface GenerationRequest {
  readonly problemId: string;
  readonly promptIds: readonly number[];
  readonly samples: number;
}

export interface GenerationOptions extends SamplingParameters {
  readonly maxNewTokens: number;
  /** No completion ends by an id of `stopIds` before it has this many tokens; default 0. */
  readonly minNewTokens?: number;
  /** Ids that end a completion (kept in it). */
  readonly stopIds: readonly number[];
  /** Texts that end a completion (kept in it). */
  readonly stopStrings?: readonly string[];
  /** With step, problem id, sample index and position, the whole identity of a random number. */
  readonly seed: number;
  readonly step: number;
  /** Most sequences at once; more wait. */
  readonly maxRows?: number;
  /** How many ids can be sampled: all rows of the embedding unless a recipe says the tokenizer's size. */
  readonly vocabulary?: number;
  /** Asked between steps; a true answer ends all that runs with the reason 'aborted'. */
  readonly stopRequested?: () => boolean;
  /** Told of every id as it is sampled, the ending one included. */
  readonly onToken?: (problemId: string, sampleIndex: number, id: number) => void;
}

const indexFillOp = new Op('aten::index_fill', 'int_Scalar');
const defaultRows = 512;

/**
 * Completes every request. Returns the completions in the order of the requests, `samples` each, whatever order they
 * finished in. The model is read only: give it a snapshot of the policy. Yields to the event loop between steps.
 */
export async function generate(
  model: Decoder,
  tokenizer: Tokenizer,
  requests: readonly GenerationRequest[],
  options: GenerationOptions,
): Promise<Completion[][]> {
  checkRequests(model, requests, options);
  using batch = new Batch(model, tokenizer, requests, options);
  let lastYield = performance.now();
  while (batch.busy) {
    if (options.stopRequested?.()) batch.abort();
    else batch.advance();
    if (performance.now() - lastYield > 50) {
      await new Promise((resolve) => setImmediate(resolve));
      lastYield = performance.now();
    }
  }
  return requests.map((_, i) =>
    batch.finished[i]!.map((sequence) => sequence.completed(tokenizer, options.step)),
  );
}

/** One completion on its way. */
class Sequence {
  readonly request: GenerationRequest;
  readonly requestIndex: number;
  readonly sampleIndex: number;
  private readonly rng: Rng;
  private readonly completion: number[] = [];
  private readonly logps: number[] = [];
  private readonly samplingLogps: number[] = [];
  stopReason: StopReason = 'aborted';

  constructor(
    request: GenerationRequest,
    requestIndex: number,
    sampleIndex: number,
    options: GenerationOptions,
  ) {
    this.request = request;
    this.requestIndex = requestIndex;
    this.sampleIndex = sampleIndex;
    this.rng = new Rng({
      seed: options.seed,
      purpose: 'sample',
      step: options.step,
      id: request.problemId,
      index: sampleIndex,
    });
  }

  get lastId(): number {
    return this.completion.at(-1)!;
  }
  /** Position of the last sampled token: where its keys go in the cache. */
  get position(): number {
    return this.request.promptIds.length + this.completion.length - 1;
  }
  /** Tokens so far. */
  get length(): number {
    return this.completion.length;
  }
  /** Every distinct id of prompt and completion. */
  get seenIds(): number[] {
    return [...new Set([...this.request.promptIds, ...this.completion])];
  }
  nextUniform(): number {
    return uniformOf(this.rng.wordAt(this.completion.length));
  }

  /** Appends a sampled token; true when the sequence is finished. */
  push(sampled: SampledTokens, row: number, tokenizer: Tokenizer, options: GenerationOptions): boolean {
    const id = sampled.ids[row]!;
    this.completion.push(id);
    this.logps.push(sampled.logps[row]!);
    this.samplingLogps.push(sampled.samplingLogps[row]!);
    options.onToken?.(this.request.problemId, this.sampleIndex, id);
    const reason = this.ending(id, tokenizer, options);
    if (reason) this.stopReason = reason;
    return reason !== null;
  }

  private ending(id: number, tokenizer: Tokenizer, options: GenerationOptions): StopReason | null {
    if (options.stopIds.includes(id)) return 'eos';
    const stops = options.stopStrings ?? [];
    if (stops.length > 0) {
      // A token has at least one character, so a stop string just completed lies in this tail.
      const tail = tokenizer.decode(this.completion.slice(-Math.max(...stops.map((s) => s.length)) - 4));
      if (stops.some((stop) => tail.includes(stop))) return 'stop';
    }
    return this.completion.length >= options.maxNewTokens ? 'length' : null;
  }

  completed(tokenizer: Tokenizer, policyStep: number): Completion {
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
    };
  }
}

/** The running sequences; running[i] owns row i of the cache. */
class Batch implements Disposable {
  readonly finished: Sequence[][];
  private readonly model: Decoder;
  private readonly tokenizer: Tokenizer;
  private readonly options: GenerationOptions;
  private readonly waiting: Sequence[];
  private running: Sequence[] = [];
  private readonly cache: KvCache;

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
    const longest = Math.max(0, ...requests.map((request) => request.promptIds.length));
    const { layers, keyValueHeads, headDim } = model.config;
    const rows = Math.max(1, Math.min(options.maxRows ?? defaultRows, this.waiting.length));
    const capacity = longest + options.maxNewTokens;
    model.rope.reserve(capacity);
    this.cache = new KvCache(
      { layers, rows, keyValueHeads, capacity, headDim },
      model.computeDtype,
      model.device,
    );
  }

  get busy(): boolean {
    return this.running.length + this.waiting.length > 0;
  }

  /** Admits what fits, or decodes one token of every running sequence. */
  advance(): void {
    const free = this.cache.shape.rows - this.running.length;
    // Prefill in lots: a lone newcomer would cost a whole pass over the weights.
    const worthwhile = this.running.length === 0 || free >= Math.max(1, this.cache.shape.rows >> 3);
    if (this.waiting.length > 0 && worthwhile) this.admit(this.waiting.splice(0, free));
    else this.decode();
  }

  abort(): void {
    for (const sequence of [...this.running, ...this.waiting.splice(0)]) this.finish(sequence);
    this.running = [];
  }

  private admit(newcomers: readonly Sequence[]): void {
    const requests = [...new Set(newcomers.map((sequence) => sequence.request))];
    const firstRow = this.running.length;
    const sampled = noGrad(() => scope(() => this.prefill(requests, newcomers, firstRow)));
    this.running.push(...newcomers);
    this.take(sampled, firstRow);
  }

  private prefill(
    requests: readonly GenerationRequest[],
    newcomers: readonly Sequence[],
    firstRow: number,
  ): SampledTokens {
    const { model, cache } = this;
    const { device } = model;
    const longest = Math.max(...requests.map((request) => request.promptIds.length));
    const flat = new Int32Array(requests.length * longest).fill(model.config.padTokenId ?? 0);
    requests.forEach((request, i) => {
      flat.set(request.promptIds, i * longest);
    });
    const place = new Map(requests.map((request, i) => [request, i]));
    const sources = ids(
      newcomers.map((sequence) => place.get(sequence.request)!),
      undefined,
      device,
    );
    const rows = arange(firstRow, firstRow + newcomers.length, 'i64', device);
    const hidden = model.forward(ids(flat, [requests.length, longest], device), (layer, keys, values) =>
      cache.fill(layer, rows, sources, keys, values),
    );
    const last = requests.map((request, i) => i * longest + request.promptIds.length - 1);
    const hidden_PD = hidden.view([-1, model.config.hiddenSize]).indexSelect(0, ids(last, undefined, device));
    return this.sample(hidden_PD, newcomers, sources);
  }

  private decode(): void {
    const sampled = noGrad(() => scope(() => this.step()));
    this.take(sampled, 0);
  }

  private step(): SampledTokens {
    const { running, model, cache } = this;
    const { device, config } = model;
    // Free rows beyond the running ones ride along, so that the library meets few shapes (see roundedRows).
    const count = Math.min(roundedRows(running.length), cache.shape.rows);
    const padded = (values: readonly number[]) => [
      ...values,
      ...new Array<number>(count - values.length).fill(0),
    ];
    const places = running.map((sequence) => sequence.position);
    const length = Math.min(cache.shape.capacity, roundUp(Math.max(...places) + 1, 32));
    const positions = ids(padded(places), undefined, device);
    const tokens = ids(padded(running.map((sequence) => sequence.lastId)), undefined, device);
    const like = zeros([0], model.computeDtype, device);
    const hidden = model.step(tokens, {
      cache,
      rows: arange(0, count, 'i64', device),
      positions,
      rotation: model.rope.at(positions, like),
      mask: cacheMask(positions, length, config.keyValueHeads, like),
      length,
    });
    return this.sample(hidden, running, null);
  }

  /** Samples from hidden states; `sources` spreads the rows of shared prompts over their sequences. */
  private sample(hidden: Tensor, sequences: readonly Sequence[], sources: Tensor | null): SampledTokens {
    const logits = this.model.logits(hidden, this.options.vocabulary ?? this.model.config.vocabSize);
    const uniforms = Float32Array.from(sequences, (sequence) => sequence.nextUniform());
    const rows = sources ? logits.indexSelect(0, sources) : logits.narrow(0, 0, sequences.length);
    const penalised = (this.options.repetitionPenalty ?? 1) !== 1;
    return sampleTokens(
      this.withoutEnding(rows, sequences),
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

  /** Gives the sampled tokens to the rows from `firstRow` on, and closes the gaps that finished ones leave. */
  private take(sampled: SampledTokens, firstRow: number): void {
    const done = this.running.map(
      (sequence, row) =>
        row >= firstRow && sequence.push(sampled, row - firstRow, this.tokenizer, this.options),
    );
    const alive = done.filter((flag) => !flag).length;
    const holes: number[] = [];
    const movers: number[] = [];
    done.forEach((flag, row) => {
      if (flag) this.finish(this.running[row]!);
      if (flag && row < alive) holes.push(row);
      if (!flag && row >= alive) movers.push(row);
    });
    const length = Math.max(0, ...this.running.map((sequence) => sequence.position));
    noGrad(() => this.cache.move(movers, holes, length));
    holes.forEach((hole, i) => {
      this.running[hole] = this.running[movers[i]!]!;
    });
    this.running.length = alive;
  }

  private finish(sequence: Sequence): void {
    this.finished[sequence.requestIndex]![sequence.sampleIndex] = sequence;
  }

  [Symbol.dispose](): void {
    this.cache[Symbol.dispose]();
  }
}

/**
 * The library compiles its bf16 products for every new shape (1 to 10 ms each, measured) and keeps about a thousand,
 * so row counts are rounded up to four an octave. Up to seven rows nothing is added.
 */
function roundedRows(count: number): number {
  return roundUp(count, 2 ** Math.max(0, Math.floor(Math.log2(count)) - 2));
}

function roundUp(value: number, step: number): number {
  return Math.ceil(value / step) * step;
}

function checkRequests(
  model: Decoder,
  requests: readonly GenerationRequest[],
  options: GenerationOptions,
): void {
  checkSampling(options);
  for (const { problemId, promptIds, samples } of requests) {
    const longest = promptIds.length + options.maxNewTokens;
    if (promptIds.length === 0 || samples < 1 || options.maxNewTokens < 1) {
      throw new ReckonError(
        'usage',
        'empty-request',
        `${problemId}: a request needs a prompt, a sample and a token`,
      );
    }
    if (longest > model.config.maxPositions) {
      throw new ReckonError(
        'usage',
        'too-long',
        `${problemId}: prompt and completion would take ${longest} positions, the model has ${model.config.maxPositions}; lower maxCompletionTokens`,
      );
    }
  }
}
