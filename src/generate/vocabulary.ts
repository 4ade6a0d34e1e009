/** Owns which ids a policy can be asked for: those that its tokenizer has, not every row of its embedding. Samples nothing. */

import type { Decoder } from '../models/index.ts';
import type { Tokenizer } from '../text/index.ts';
import type { GenerationOptions } from './engine.ts';

/**
 * How many ids belong to the distribution of a model with this tokenizer. Embeddings are often padded with rows that stand
 * for no token (Qwen2.5: 151,936 rows for 151,665 ids); those are neither drawn nor counted in a log-probability, in
 * sampling and in training alike. An id that ends completions counts whatever the tokenizer says of it.
 */
export function policyVocabulary({ config }: Pick<Decoder, 'config'>, { size }: Tokenizer): number {
  return Math.min(config.vocabSize, Math.max(size, ...config.eosTokenIds.map((id) => id + 1)));
}

/** The same request within a vocabulary: what is said of ids beyond it is left out, since none of them is drawn. */
export function within(vocabulary: number, options: GenerationOptions): GenerationOptions {
  const { stopIds, logitBias } = options;
  const isInside = (id: number) => id < vocabulary;
  return {
    ...options,
    vocabulary,
    stopIds: stopIds.filter(isInside),
    ...(logitBias ? { logitBias: new Map([...logitBias].filter(([id]) => isInside(id))) } : {}),
  };
}
