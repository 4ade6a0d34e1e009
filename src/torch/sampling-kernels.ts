/**
 * Owns the typed surface of the kernels that draw tokens (native/kernels/sampling.h); their slow twins are in the engine's
 * sampler and filters. Knows no sequence.
 */

import { op } from './any-op.ts';
import { Op } from './op.ts';
import { Tensor } from './tensor.ts';

const sampleOp = new Op('reckon::sample');
const drawOp = op('reckon::draw');

/**
 * One id (i32) a row of logits [N, V] at the row's uniform number, and its log-probability (f32) at the temperature;
 * greedy, and at temperature 1, for temperature 0. Only where `kernelsServe`.
 */
export function sampleKernel(
  logits: Tensor,
  uniforms: Tensor,
  temperature: number,
): { readonly ids: Tensor; readonly logps: Tensor } {
  const [chosen, logps] = sampleOp.raw(logits.handle, uniforms.handle, temperature) as [number, number];
  return { ids: new Tensor(chosen), logps: new Tensor(logps) };
}

/** What a draw changes and leaves out, in the order in which it does; shapes and dtypes as the operator states them. */
export interface Draw {
  readonly temperature: number;
  readonly topK: number;
  readonly topP: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  /** i32 [N, S]: ids that the penalty touches. */
  readonly seen: Tensor | null;
  /** i32 [B] and f32 [B]: what is added to the logits of which ids. */
  readonly bias: { readonly ids: Tensor; readonly added: Tensor } | null;
  /** i32 [K], and i32 [N], not 0 for the rows in which those ids cannot be drawn. */
  readonly banned: { readonly ids: Tensor; readonly rows: Tensor } | null;
  /** How many of the likeliest ids are listed; -1 also leaves out the entropy and the plain log-probability. */
  readonly alternatives: number;
}

/** What a draw gives. */
export interface DrawnRows {
  /** i32 [2, N]: the ids, and how many could have been drawn. */
  readonly counts: Tensor;
  /** f32 [4, N]: log-probability at the temperature, under what was drawn from, at temperature 1; entropy. */
  readonly values: Tensor;
  /** i32 [N, alternatives] and f32 [N, alternatives], in descending order. */
  readonly likeliest: Tensor;
  readonly likeliestLogps: Tensor;
}

/**
 * One id a row of logits [N, V] at the row's uniform number, from what is kept of it: always so many of its likeliest,
 * found without a sort and walked in the order of ids. Only where `kernelsServe`.
 */
export function drawKernel(logits: Tensor, uniforms: Tensor, draw: Draw): DrawnRows {
  const { temperature, topK, topP, minP, repetitionPenalty, seen, bias, banned, alternatives } = draw;
  const [counts, values, likeliest, likeliestLogps] = drawOp(
    logits,
    uniforms,
    temperature,
    topK,
    topP,
    minP,
    repetitionPenalty,
    seen,
    bias?.ids ?? null,
    bias?.added ?? null,
    banned?.ids ?? null,
    banned?.rows ?? null,
    alternatives,
  ) as [Tensor, Tensor, Tensor, Tensor];
  return { counts, values, likeliest, likeliestLogps };
}
