/** Owns the golden cases of what is done to logits before a token is drawn. */

import { filterLogits, type SamplingParameters } from '../../src/generate/index.ts';
import {
  drawKernel,
  fromBytes,
  full,
  kernelsServe,
  noGrad,
  scope,
  type Tensor,
} from '../../src/torch/index.ts';
import type { Case, Handlers } from './case.ts';

export const samplingHandlers: Handlers = {
  'sampling.filter': (one, inputs) =>
    noGrad(() =>
      scope(() => {
        const logits = inputs.get('logits')!;
        const scores = filterLogits(logits, parametersOf(one), { seen_NS: inputs.get('input_ids') ?? null });
        const probs = scores.softmax(-1).toFloat32();
        const width = logits.size(-1);
        const kept = scores.toFloat32().map((score) => Number(score !== Number.NEGATIVE_INFINITY));
        const rows = Array.from({ length: probs.length / width }, (_, row) => row * width);
        return {
          scores: scores.toFloat32(),
          probs,
          kept,
          probs_sorted_desc: rows.map((row) => [...probs.slice(row, row + width)].sort((a, b) => b - a)),
          kept_count:
            keptByKernel(one, inputs) ??
            rows.map((row) => kept.slice(row, row + width).reduce((sum, value) => sum + value, 0)),
        };
      }),
    ),
};

/** How many tokens of each row the kernel keeps, which is its whole answer: always the likeliest. */
function keptByKernel(one: Case, inputs: ReadonlyMap<string, Tensor>): Int32Array | null {
  const logits = inputs.get('logits')!;
  const { temperature, topP, topK = 0, minP = 0, repetitionPenalty = 1, logitBias } = parametersOf(one);
  if (!kernelsServe(logits)) return null;
  const banned = Int32Array.from(logitBias?.keys() ?? []);
  const drawn = drawKernel(logits, full([logits.size(0)], 0.5), {
    temperature,
    topK,
    topP,
    minP,
    repetitionPenalty,
    seen: inputs.get('input_ids')?.to('i32') ?? null,
    bias:
      banned.length > 0
        ? { ids: fromBytes(banned, 'i32', [banned.length]), added: full([banned.length], -Infinity) }
        : null,
    banned: null,
    alternatives: -1,
  });
  return drawn.counts.select(0, 1).toInt32();
}

function parametersOf({ params }: Case): SamplingParameters {
  const suppressed: number[] = params['suppress_tokens'] ?? [];
  return {
    temperature: params['temperature'],
    topP: params['top_p'],
    topK: params['top_k'],
    minP: params['min_p'] ?? 0,
    repetitionPenalty: params['repetition_penalty'],
    logitBias: new Map(suppressed.map((id) => [id, Number.NEGATIVE_INFINITY])),
  };
}
