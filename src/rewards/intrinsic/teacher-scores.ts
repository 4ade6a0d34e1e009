/**
 * Owns a frozen teacher's soft values of chosen tokens, computed from hidden states a chunk of tokens at a time. Knows
 * neither batches nor caches.
 */

import { like } from '../../nn/index.ts';
import { noGrad, scope, type Tensor } from '../../torch/index.ts';
import { type SoftValues, softValues } from './soft-bellman.ts';

/** Most logits (tokens x vocabulary) that exist at once: 64 MiB in f32. */
const chunkElements = 2 ** 24;

export interface TeacherScoreOptions {
  readonly alpha: number;
  /** Rows of the head that are tokens: padded vocabularies of different sizes give the same numbers. */
  readonly vocabulary: number;
  /** Tokens a chunk; derived from the vocabulary by default. */
  readonly chunkTokens?: number;
}

/**
 * Soft values of targets_N from the hidden states [N, D] that predict them, so from the logits before each token, under
 * the head's weight [rows, D]. In f32 whatever the dtype of the states.
 */
export function teacherScores(
  hidden_ND: Tensor,
  weight_VD: Tensor,
  targets_N: Tensor,
  { alpha, vocabulary, chunkTokens }: TeacherScoreOptions,
): SoftValues {
  const tokens = hidden_ND.size(0);
  const size = chunkTokens ?? Math.max(1, Math.floor(chunkElements / vocabulary));
  const values = emptyValues(tokens);
  return noGrad(() =>
    scope(() => {
      const head_VD = weight_VD.narrow(0, 0, vocabulary).to('f32');
      for (let start = 0; start < tokens; start += size) {
        const length = Math.min(size, tokens - start);
        scope(() => {
          const logits_NV = like(hidden_ND.narrow(0, start, length), head_VD).linear(head_VD);
          const part = softValues(logits_NV, targets_N.narrow(0, start, length), alpha);
          for (const name of softValueNames) values[name].set(part[name], start);
        });
      }
      return values;
    }),
  );
}

/** The four numbers of a token, in the order in which they are stored. */
export const softValueNames: readonly (keyof SoftValues)[] = ['q', 'v', 'mean', 'logp'];

/** Room for the values of so many tokens. */
export function emptyValues(tokens: number): SoftValues {
  const [q, v, mean, logp] = softValueNames.map(() => new Float64Array(tokens));
  return { q: q!, v: v!, mean: mean!, logp: logp! };
}

/** The values of the first tokens, as views. */
export function firstValues(values: SoftValues, tokens: number): SoftValues {
  const [q, v, mean, logp] = softValueNames.map((name) => values[name].subarray(0, tokens));
  return { q: q!, v: v!, mean: mean!, logp: logp! };
}
