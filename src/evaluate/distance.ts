/**
 * Owns how far apart two models' next-token distributions are along completions: for each token, and over all of them.
 * Knows no files and samples nothing.
 */

import type { Decoder } from '../models/index.ts';
import { ids, noGrad, scope, type Tensor } from '../torch/index.ts';
import { ReckonError } from '../util/errors.ts';
import { mean } from '../util/statistics.ts';
import { type Divergences, divergences } from './divergence.ts';

/** Most logits (tokens x vocabulary) of one model that exist at once: 64 MiB in f32. */
const chunkElements = 2 ** 24;

/** A completion after its prompt, as ids that both models read alike. */
export interface TokenSequence {
  readonly promptIds: readonly number[];
  readonly completionIds: readonly number[];
}

export interface DistanceOptions {
  /** Default 1. */
  readonly temperature?: number;
  /** Ids that both models know: the tokenizer's size. Default the smaller number of embedding rows. */
  readonly vocabulary?: number;
}

/** Means over all completion tokens of two models' distributions p and q; nats where it is an information. */
export interface Distance {
  readonly tokens: number;
  /** KL(p || q). */
  readonly klPq: number;
  readonly klQp: number;
  readonly js: number;
  /** Mean over tokens of the logits' cosine. */
  readonly cosine: number;
  /** Cosine of all logits as one long vector, as "Intrinsic reward distillation" has it. */
  readonly flatCosine: number;
  /** Share of tokens where both find the same token likeliest. */
  readonly top1Agreement: number;
  readonly totalVariation: number;
}

/** How far one named model is from another. */
export interface ModelDistance extends Distance {
  readonly p: string;
  readonly q: string;
}

/** The distance over all tokens, and every token's numbers in the order of the sequences. */
export interface TokenDistances {
  readonly overall: Distance;
  readonly perToken: readonly Divergences[];
}

interface Products {
  pq: number;
  pp: number;
  qq: number;
}

/**
 * Compares the distributions that two models have for each completion token, given all before it. Yields to the event loop
 * between sequences. Throws `nothing-compared` where there is no token.
 */
export async function tokenDistances(
  p: Decoder,
  q: Decoder,
  sequences: readonly TokenSequence[],
  options: DistanceOptions = {},
): Promise<TokenDistances> {
  const vocabulary = options.vocabulary ?? Math.min(p.config.vocabSize, q.config.vocabSize);
  const products: Products = { pq: 0, pp: 0, qq: 0 };
  const perToken: Divergences[] = [];
  for (const sequence of sequences) {
    perToken.push(ofSequence(p, q, sequence, vocabulary, options.temperature ?? 1, products));
    await new Promise((resolve) => setImmediate(resolve));
  }
  return { overall: overall(perToken, products), perToken };
}

function ofSequence(
  p: Decoder,
  q: Decoder,
  { promptIds, completionIds }: TokenSequence,
  vocabulary: number,
  temperature: number,
  products: Products,
): Divergences {
  const count = completionIds.length;
  const values = empty(count);
  if (count === 0) return values;
  const flat = [...promptIds, ...completionIds.slice(0, -1)];
  // The logits of a token come from the position before it: the first from the last of the prompt.
  const states = (model: Decoder): Tensor =>
    model
      .forward(ids(flat, [1, flat.length], model.device))
      .view([flat.length, model.config.hiddenSize])
      .narrow(0, promptIds.length - 1, count);
  const chunk = Math.max(1, Math.floor(chunkElements / vocabulary));
  noGrad(() =>
    scope(() => {
      const [hiddenP, hiddenQ] = [states(p), states(q)];
      for (let start = 0; start < count; start += chunk) {
        const length = Math.min(chunk, count - start);
        scope(() => {
          const logitsP_NV = p.logits(hiddenP.narrow(0, start, length), vocabulary);
          const logitsQ_NV = q.logits(hiddenQ.narrow(0, start, length), vocabulary);
          const part = divergences(logitsP_NV, logitsQ_NV, temperature);
          for (const name of names) values[name].set(part[name], start);
          products.pq += logitsP_NV.mul(logitsQ_NV).sum().item();
          products.pp += logitsP_NV.square().sum().item();
          products.qq += logitsQ_NV.square().sum().item();
        });
      }
    }),
  );
  return values;
}

const names = ['klPq', 'klQp', 'js', 'cosine', 'entropyP', 'entropyQ', 'top1Agree', 'tv'] as const;

function empty(count: number): Divergences {
  const arrays = names.map((name) => [name, new Float64Array(count)] as const);
  return Object.fromEntries(arrays) as unknown as Divergences;
}

function overall(perToken: readonly Divergences[], { pq, pp, qq }: Products): Distance {
  const tokens = perToken.reduce((sum, { klPq }) => sum + klPq.length, 0);
  if (tokens === 0)
    throw new ReckonError(
      'data',
      'nothing-compared',
      'Expected completions with at least one token to compare two models on, found none; raise the limit or the length.',
    );
  const over = (name: (typeof names)[number]): number => mean(perToken.flatMap((each) => [...each[name]]));
  return {
    tokens,
    klPq: over('klPq'),
    klQp: over('klQp'),
    js: over('js'),
    cosine: over('cosine'),
    flatCosine: pq / Math.sqrt(Math.max(pp * qq, Number.MIN_VALUE)),
    top1Agreement: over('top1Agree'),
    totalVariation: over('tv'),
  };
}
