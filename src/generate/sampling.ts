/** Owns how a token is asked to be drawn, and which requests make no distribution. Draws nothing and needs no torch. */

import { ReckonError } from '../util/errors.ts';

/** How a token is drawn. Temperature 0 is greedy. */
export interface SamplingParameters {
  readonly temperature: number;
  /** Nucleus: the smallest set of tokens whose probabilities sum to at least this much; 1 keeps all. */
  readonly topP: number;
  /** As many of the likeliest tokens, and those as likely as the last of them; 0, the default, keeps all. */
  readonly topK?: number | undefined;
  /** Tokens at least this share as likely as the likeliest; 0, the default, keeps all. */
  readonly minP?: number | undefined;
  /** Divides positive and multiplies negative logits of tokens that stand in prompt or completion; default 1. */
  readonly repetitionPenalty?: number;
  /** Added to the logits of these ids; -Infinity bans one. */
  readonly logitBias?: ReadonlyMap<number, number>;
}

/** The lowest temperature that is not greedy: below it logits divided by it could leave f32's range. */
export const LEAST_TEMPERATURE = 1e-4;

/** What a recipe or a trainer says of sampling that can make it another distribution than the policy's. */
export interface SamplingShape {
  readonly topP: number;
  readonly topK?: number | undefined;
  readonly minP?: number | undefined;
  readonly repetitionPenalty?: number | undefined;
  /** By token id. */
  readonly logitBias?: Readonly<Record<string, number>> | undefined;
  readonly minCompletionTokens?: number | undefined;
  /** Of the policy's copy that samples; a loss with importance ratios corrects for what rounding changes. */
  readonly weights?: 'full' | 'int8' | undefined;
}

/** Whether completions come from another distribution than the policy's own: filtered, steered, or of rounded weights. */
export function samplerDiffers({
  topP,
  topK,
  minP,
  weights,
  repetitionPenalty = 1,
  logitBias = {},
  minCompletionTokens = 0,
}: SamplingShape): boolean {
  const filtered = topP < 1 || topK !== undefined || minP !== undefined;
  const steered = repetitionPenalty !== 1 || Object.keys(logitBias).length > 0 || minCompletionTokens > 0;
  return filtered || steered || weights === 'int8';
}

/** Fails on parameters that make no distribution. */
export function checkSampling(parameters: SamplingParameters): void {
  const { temperature, topP, topK = 0, minP = 0, repetitionPenalty = 1 } = parameters;
  const require = (holds: boolean, what: string, found: number) => {
    if (!holds) throw new ReckonError('usage', 'bad-sampling', `${what}, found ${found}`);
  };
  require(temperature === 0 ||
    (temperature >= LEAST_TEMPERATURE &&
      Number.isFinite(
        temperature,
      )), `temperature must be 0 (greedy) or at least ${LEAST_TEMPERATURE}`, temperature);
  require(topP > 0 && topP <= 1, 'topP must be above 0 and at most 1', topP);
  require(Number.isSafeInteger(topK) && topK >= 0, 'topK must be a whole number of 0 or more', topK);
  require(minP >= 0 && minP <= 1, 'minP must lie between 0 and 1', minP);
  require(repetitionPenalty > 0, 'repetitionPenalty must be above 0', repetitionPenalty);
}

/** Whether the distribution drawn from is that of the logits at the temperature, over the whole vocabulary. */
export function isUnfiltered(parameters: SamplingParameters): boolean {
  const { topP, topK = 0, minP = 0, repetitionPenalty = 1, logitBias } = parameters;
  return topP === 1 && topK === 0 && minP === 0 && repetitionPenalty === 1 && !logitBias?.size;
}
