/**
 * Owns generation as its users see it: requests and options in, completions out, whoever computes them. Knows no model, no
 * server and no torch.
 */

import { ReckonError } from '../util/errors.ts';
import type { Completion } from './completion.ts';
import { checkSampling, type SamplingParameters } from './sampling.ts';

/** One prompt and how many completions it gets. */
export interface GenerationRequest {
  readonly problemId: string;
  readonly promptIds: readonly number[];
  readonly samples: number;
  /** Most tokens of a completion of this request, where that is less than the options' limit. */
  readonly maxNewTokens?: number;
  /**
   * Lengths of all its samples where they are known from before. They then only take their places beside the others, which
   * come out as if these were sampled again; nothing of them is computed or given back. Exact where the engine `keepsOthers`.
   */
  readonly knownLengths?: readonly number[] | undefined;
}

export interface GenerationOptions extends SamplingParameters {
  readonly maxNewTokens: number;
  /** No completion ends by an id or text of these lists before it has this many tokens; default 0. */
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
  /** How many ids can be sampled: of an engine here by default those that the tokenizer has, else all rows of the embedding. */
  readonly vocabulary?: number;
  /** Records entropies, log-probabilities at temperature 1 and so many of the likeliest ids of every token. */
  readonly statistics?: { readonly alternatives: number };
  /** Told where fewer sequences run than were planned, for want of memory; by default a warning of the process. */
  readonly log?: ((line: string) => void) | undefined;
  /** Asked between steps; a true answer ends all that runs with the reason 'aborted'. */
  readonly stopRequested?: () => boolean;
  /** The same from outside, at once: a server is told no more than that its client is gone. */
  readonly signal?: AbortSignal;
  /** Told of every id as it is sampled, the ending one included; by a remote engine once a completion is there. */
  readonly onToken?: (problemId: string, sampleIndex: number, id: number) => void;
  /** Told of a request's completions as soon as all of them have ended by themselves. */
  readonly onRequest?: ((completions: readonly Completion[]) => void) | undefined;
}

/** What completes prompts: a model in this process, or servers elsewhere. */
export interface Engine extends Disposable {
  /** The ids that end a completion by the model's own config. */
  readonly eosTokenIds: readonly number[];
  /** Whether requests of `knownLengths` leave the completions of the others as they would be without it. */
  readonly keepsOthers: boolean;
  /** The completions in the order of the requests, `samples` each, whatever order they finished in. */
  generate(requests: readonly GenerationRequest[], options: GenerationOptions): Promise<Completion[][]>;
}

/** Fails on parameters that make no distribution, and on requests that ask for nothing. */
export function checkRequests(requests: readonly GenerationRequest[], options: GenerationOptions): void {
  checkSampling(options);
  for (const { problemId, promptIds, samples, maxNewTokens = 1 } of requests) {
    if (promptIds.length > 0 && samples >= 1 && Math.min(options.maxNewTokens, maxNewTokens) >= 1) continue;
    throw new ReckonError(
      'usage',
      'empty-request',
      `${problemId}: a request needs a prompt, a sample and a token`,
    );
  }
}
