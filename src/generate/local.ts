/** Owns generation by a model in this process, from requests to completions. What runs when is in batch.ts. */

import { type Decoder, readerOf, type WeightFormat } from '../models/index.ts';
import type { Tokenizer } from '../text/index.ts';
import { kernelsServe } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { Batch } from './batch.ts';
import type { Completion } from './completion.ts';
import { checkRequests, type Engine, type GenerationOptions, type GenerationRequest } from './engine.ts';
import { policyVocabulary, within } from './vocabulary.ts';

/** An engine that samples from a policy until its next update, from a snapshot where need be; it leaves the policy alone. */
export function localEngine(policy: Decoder, tokenizer: Tokenizer, weights: WeightFormat = 'full'): Engine {
  const reader = readerOf(policy, weights);
  return { ...engineOf(reader.model, tokenizer), [Symbol.dispose]: () => reader[Symbol.dispose]() };
}

/** An engine that samples from a model that nobody trains, and owns it; by default only ids that the tokenizer has. */
export function engineOf(model: Decoder, tokenizer: Tokenizer): Engine {
  return {
    eosTokenIds: model.config.eosTokenIds,
    keepsOthers: kernelsServe({ dtype: model.computeDtype, device: model.device }),
    generate: (requests, options) => {
      const vocabulary = options.vocabulary ?? policyVocabulary(model, tokenizer);
      return generate(model, tokenizer, requests, within(vocabulary, options));
    },
    [Symbol.dispose]: () => model[Symbol.dispose](),
  };
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
  checkRequests(requests, options);
  requireRoom(model, requests, options);
  checkExtras(model, options);
  using batch = new Batch(model, tokenizer, requests, options);
  const completionsOf = (request: number): Completion[] =>
    batch.finished[request]!.map((sequence) => sequence.completed(tokenizer, options.step));
  let lastYield = performance.now();
  while (batch.busy) {
    if (options.stopRequested?.() || options.signal?.aborted) batch.abort();
    else for (const request of batch.advance()) options.onRequest?.(completionsOf(request));
    if (performance.now() - lastYield > 50) {
      await new Promise((resolve) => setImmediate(resolve));
      lastYield = performance.now();
    }
  }
  return requests.map((request, i) => (request.knownLengths === undefined ? completionsOf(i) : []));
}

function requireRoom(
  { config: { maxPositions } }: Decoder,
  requests: readonly GenerationRequest[],
  options: GenerationOptions,
): void {
  for (const { problemId, promptIds } of requests) {
    const longest = promptIds.length + options.maxNewTokens;
    if (longest <= maxPositions) continue;
    throw new ReckonError(
      'usage',
      'too-long',
      `${problemId}: prompt and completion would take ${longest} positions, the model has ${maxPositions}; lower maxCompletionTokens`,
    );
  }
}

function checkExtras({ config }: Decoder, options: GenerationOptions): void {
  const { prefillChunk = 1, statistics, vocabulary = config.vocabSize } = options;
  const alternatives = statistics?.alternatives ?? 0;
  if (!Number.isSafeInteger(prefillChunk) || prefillChunk < 1)
    throw new ReckonError('usage', 'bad-chunk', `prefillChunk must be 1 or more, found ${prefillChunk}`);
  if (Number.isSafeInteger(alternatives) && alternatives >= 0 && alternatives <= vocabulary) return;
  throw new ReckonError(
    'usage',
    'bad-statistics',
    `alternatives must lie between 0 and the vocabulary's ${vocabulary}, found ${alternatives}`,
  );
}
