/** Owns generation as its users see it: requests and options in, completions out. What runs when is in batch.ts. */

import type { Decoder } from '../models/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Batch } from './batch.ts';
import type { Completion } from './completion.ts';
import { checkSampling, type SamplingParameters } from './filters.ts';

/** One prompt and how many completions it gets. */
export interface GenerationRequest {
  readonly problemId: string;
  readonly promptIds: readonly number[];
  readonly samples: number;
  /** Most tokens of a completion of this request, where that is less than the options' limit. */
  readonly maxNewTokens?: number;
  /**
   * Lengths of all its samples where they are known from before. They then only take their places beside the others, which
   * come out as if these were sampled again; nothing of them is computed or given back. Exact where `kernelsServe` the model.
   */
  readonly knownLengths?: readonly number[] | undefined;
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
  /** Most sequences at once, by default 512; more wait. */
  readonly maxRows?: number;
  /** Most bytes of keys and values, by default a quarter of the machine's memory: fewer sequences run at once, down to one. */
  readonly cacheBytes?: number;
  /**
   * Most tokens of a prompt in one pass: a longer prompt is prefilled in such chunks, between which the others are
   * decoded; by default whole prompts, up to 16,384 tokens at once.
   */
  readonly prefillChunk?: number | undefined;
  /** How many ids can be sampled: all rows of the embedding unless a recipe says the tokenizer's size. */
  readonly vocabulary?: number;
  /** Records entropies, log-probabilities at temperature 1 and so many of the likeliest ids of every token. */
  readonly statistics?: { readonly alternatives: number };
  /** Asked between steps; a true answer ends all that runs with the reason 'aborted'. */
  readonly stopRequested?: () => boolean;
  /** Told of every id as it is sampled, the ending one included. */
  readonly onToken?: (problemId: string, sampleIndex: number, id: number) => void;
  /** Told of a request's completions as soon as all of them have ended by themselves. */
  readonly onRequest?: ((completions: readonly Completion[]) => void) | undefined;
}

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
  const completionsOf = (request: number): Completion[] =>
    batch.finished[request]!.map((sequence) => sequence.completed(tokenizer, options.step));
  let lastYield = performance.now();
  while (batch.busy) {
    if (options.stopRequested?.()) batch.abort();
    else for (const request of batch.advance()) options.onRequest?.(completionsOf(request));
    if (performance.now() - lastYield > 50) {
      await new Promise((resolve) => setImmediate(resolve));
      lastYield = performance.now();
    }
  }
  return requests.map((request, i) => (request.knownLengths === undefined ? completionsOf(i) : []));
}

function checkRequests(
  model: Decoder,
  requests: readonly GenerationRequest[],
  options: GenerationOptions,
): void {
  checkSampling(options);
  const { prefillChunk = 1, statistics, vocabulary = model.config.vocabSize } = options;
  const alternatives = statistics?.alternatives ?? 0;
  if (!Number.isSafeInteger(prefillChunk) || prefillChunk < 1)
    throw new ReckonError('usage', 'bad-chunk', `prefillChunk must be 1 or more, found ${prefillChunk}`);
  if (!Number.isSafeInteger(alternatives) || alternatives < 0 || alternatives > vocabulary) {
    throw new ReckonError(
      'usage',
      'bad-statistics',
      `alternatives must lie between 0 and the vocabulary's ${vocabulary}, found ${alternatives}`,
    );
  }
  for (const { problemId, promptIds, samples, maxNewTokens = 1 } of requests) {
    const longest = promptIds.length + options.maxNewTokens;
    if (promptIds.length === 0 || samples < 1 || Math.min(options.maxNewTokens, maxNewTokens) < 1) {
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
